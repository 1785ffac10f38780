"""Convolution of signs, with what follows it: norm, shortcut, PReLU, the next layer's signs.

Shapes: N images of C channels and h x w cells in, O channels and h' x w' cells out.
"""

from __future__ import annotations

from lowres_d2.deploy.one_bit import binding
from lowres_d2.deploy.one_bit.bits import PackedBits, pack_bits, pair, words_of
from lowres_d2.deploy.one_bit.memory import new_features, new_map
from lowres_d2.deploy.one_bit.paths import chosen_path
from lowres_d2.deploy.one_bit.weights import PackedWeights

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Vector = Float[Tensor, " O"]


def packed_conv(
    bits: PackedBits,
    weights: PackedWeights,
    stride: int | tuple[int, int] = 1,
    *,
    scale: Vector | None = None,
    shift: Vector | None = None,
    residual: Float[Tensor, "N O out_h out_w"] | None = None,
    slope: Vector | None = None,
    offset: Vector | None = None,
    numbers: bool = True,
    next_padding: int | tuple[int, int] | None = None,
    next_thresholds: Vector | None = None,
    out: Float[Tensor, "N O out_h out_w"] | None = None,
) -> tuple[Float[Tensor, "N O out_h out_w"] | None, PackedBits | None]:
    """``y = prelu(scale * product + shift + residual) + offset``, and the bits of ``y``.

    Products are exact, and all paths round what follows alike, one operation after the other:
    their results are equal to the bit. Each part that is left out costs nothing. Results have no
    gradients.

    Args:
        bits: of the input; their border is at least the weights' padding.
        weights: packed.
        stride: of rows and columns.
        scale: of each output; 1 without it.
        shift: of each output.
        residual: added before the PReLU; channels last takes no copy.
        slope: of the PReLU, for each output.
        offset: added after the PReLU, for each output.
        numbers: whether y itself is wanted.
        next_padding: border of the bits of y; None: they are not wanted.
        next_thresholds: bits are ``y >= next_thresholds``; 0 without them.
        out: memory for y, channels last; by default some that is free: ``memory.py``.

    Returns:
        y, channels last, and its bits; None for what is not wanted.

    Raises:
        ValueError: channels, border, or a vector's or tensor's shape or device does not fit.
    """
    stride = pair(stride)
    shape = _output_shape(bits, weights, stride)
    vectors = {"scale": scale, "shift": shift, "slope": slope, "offset": offset}
    vectors["thresholds"] = next_thresholds
    vectors = {
        name: binding.vector(x, shape[1], name) for name, x in vectors.items() if x is not None
    }
    for name, of_maps in (("residual", residual), ("out", out)):
        if of_maps is not None:
            _check_map(name, of_maps, shape, bits)
    if out is not None and not _is_ours(out):
        raise ValueError("out: expected float32, channels last")
    path = chosen_path() if bits.words.is_cpu else "torch"
    if path == "torch":
        y = _with_torch(bits, weights, stride, residual, vectors)
        next_bits = None
        if next_padding is not None:
            next_bits = pack_bits(y, next_thresholds, next_padding)
        if not numbers:
            return None, next_bits
        return (y if out is None else out.copy_(y)), next_bits
    if residual is not None:
        vectors["residual"] = residual.float().contiguous(memory_format=torch.channels_last)
    if not numbers:
        out = None
    elif out is None:
        out = new_features(*shape)
    next_bits = None if next_padding is None else _room_for_bits(shape, pair(next_padding))
    _with_core(path, bits, weights, stride, vectors, out, next_bits)
    return out, next_bits


def _output_shape(
    bits: PackedBits, weights: PackedWeights, stride: tuple[int, int]
) -> tuple[int, int, int, int]:
    outputs, channels, *kernel = weights.shape
    if bits.channels != channels:
        raise ValueError(f"bits of {bits.channels} channels, weights for {channels}")
    if any(have < need for have, need in zip(bits.border, weights.padding, strict=True)):
        raise ValueError(f"border {bits.border} of the bits: expected {weights.padding} or more")
    height, width = (
        (size + 2 * padding - k) // step + 1
        for size, padding, k, step in zip(bits.size, weights.padding, kernel, stride, strict=True)
    )
    if height < 1 or width < 1:
        raise ValueError(f"a map of {bits.size} is smaller than the kernel {tuple(kernel)}")
    return len(bits.words), outputs, height, width


def _check_map(name: str, given: Tensor, shape: tuple[int, ...], bits: PackedBits) -> None:
    if given.shape != shape:
        raise ValueError(f"{name} of shape {tuple(given.shape)}: expected {shape}")
    if given.is_cpu != bits.words.is_cpu:
        raise ValueError(f"{name} on {given.device}, bits on {bits.words.device}")


def _is_ours(out: Tensor) -> bool:
    return out.dtype == torch.float32 and out.is_contiguous(memory_format=torch.channels_last)


def _room_for_bits(shape: tuple[int, int, int, int], border: tuple[int, int]) -> PackedBits:
    number, outputs, height, width = shape
    size = (number, height + 2 * border[0], width + 2 * border[1], words_of(outputs))
    return PackedBits(new_map(*size, dtype=torch.int32), outputs, border)


def _with_core(
    path: str,
    bits: PackedBits,
    weights: PackedWeights,
    stride: tuple[int, int],
    of_outputs: dict[str, Tensor],
    out: Tensor | None,
    next_bits: PackedBits | None,
) -> None:
    shape = _output_shape(bits, weights, stride)
    fields = dict(of_outputs, out=out)
    if next_bits is not None:
        fields["bits"] = next_bits.words
        fields["bits_border_y"], fields["bits_border_x"] = next_bits.border
    binding.convolve(
        path,
        images=shape[0],
        height=bits.size[0],
        width=bits.size[1],
        border_y=bits.border[0],
        border_x=bits.border[1],
        words=words_of(bits.channels),
        kernel_y=weights.shape[2],
        kernel_x=weights.shape[3],
        stride_y=stride[0],
        stride_x=stride[1],
        padding_y=weights.padding[0],
        padding_x=weights.padding[1],
        outputs=shape[1],
        out_height=shape[2],
        out_width=shape[3],
        input=bits.words,
        weights=weights.words,
        offsets=weights.offsets,
        **fields,
    )


@torch.no_grad()
def _with_torch(
    bits: PackedBits,
    weights: PackedWeights,
    stride: tuple[int, int],
    residual: Tensor | None,
    of_outputs: dict[str, Tensor],
) -> Float[Tensor, "N O out_h out_w"]:
    """The same, operation for operation."""
    of = {name: x.to(bits.words.device).view(-1, 1, 1) for name, x in of_outputs.items()}
    signs, kernel = bits.signs(), weights.signs().to(bits.words.device)
    # Sums of signs are integers; an algorithm that approaches them (Winograd's) is put right.
    y = F.conv2d(signs, kernel, stride=stride, padding=weights.padding).round()
    if "scale" in of:
        y = y * of["scale"]
    if "shift" in of:
        y = y + of["shift"]
    if residual is not None:
        y = y + residual.float()
    if "slope" in of:
        y = torch.where(y < 0, y * of["slope"], y)
    if "offset" in of:
        y = y + of["offset"]
    return y.contiguous(memory_format=torch.channels_last)
