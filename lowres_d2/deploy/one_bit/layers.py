"""Packed 1-bit layers: their weights are bits, and so is what goes from one to the next.

Shapes: N images, C channels in, O out; L levels, see ``folding.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from lowres_d2.deploy.one_bit.bits import PackedBits, pack_bits
from lowres_d2.deploy.one_bit.convolution import packed_conv
from lowres_d2.deploy.one_bit.folding import affine_of, slopes_of
from lowres_d2.deploy.one_bit.weights import PackedWeights
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedSign, Sign
from lowres_d2.level_turns import LevelTurns

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

BYTE = 8  # bits


class PackedConv2d(nn.Module):
    """A ``BinaryConv2d`` in evaluation, with its norm, and the activation behind it.

    Attributes:
        bits: signs of the weights, 8 in a byte, in the order of the weights themselves.
        scale: of the products, norm included; a row for each level, which take turns.
        shift: of bias and norm, likewise.
        slope: of a PReLU behind it.
        offset: added behind that.
        thresholds: a bit of the input is 1 from these on.
        rest: norm and activation that are none of these, as they were.
    """

    def __init__(
        self,
        layer: BinaryConv2d,
        norm: nn.Module | None = None,
        activation: nn.Module | None = None,
    ) -> None:
        """Pack a layer.

        Args:
            layer: with its own norm and activation.
            norm: behind the layer, which has none of its own then.
            activation: likewise.

        Raises:
            ValueError: see ``check_layer``; or there are two norms, or two activations.
        """
        super().__init__()
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.kernel_size, self.stride, self.padding = layer.kernel_size, layer.stride, layer.padding
        norm = _only("norm", layer.norm, norm)
        _set_up(self, layer, norm, _only("activation", layer.activation, activation))

    @property
    def is_whole(self) -> bool:
        """Whether norm and activation are part of the packed form."""
        return not len(self.rest)

    def pack(self, x: Float[Tensor, "N C h w"]) -> PackedBits:
        """The bits of an input."""
        return pack_bits(x, self.thresholds, self.padding)

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N O out_h out_w"]:
        """As the layer: convolve, scale, add, normalise, activate."""
        y, _ = self.run(self.pack(x))
        return self.rest(y)

    def run(
        self,
        bits: PackedBits,
        residual: Float[Tensor, "N O out_h out_w"] | None = None,
        then: PackedConv2d | None = None,
        numbers: bool = True,
    ) -> tuple[Float[Tensor, "N O out_h out_w"] | None, PackedBits | None]:
        """The output without ``rest``, and its bits as the next layer reads them.

        Args:
            bits: of the input, of ``pack`` or of the layer before.
            residual: added in front of the activation.
            then: the next layer; without it there are no bits.
            numbers: whether the output itself is wanted.
        """
        level = self.turns.take(len(self.scale))
        return packed_conv(
            bits,
            weights_of(self, self.padding),
            self.stride,
            scale=self.scale[level],
            shift=self.shift[level],
            residual=residual,
            slope=self.slope,
            offset=self.offset,
            numbers=numbers,
            next_padding=None if then is None else then.padding,
            next_thresholds=None if then is None else then.thresholds,
        )

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._packed = None

    def _apply(self, *args: Any, **kwargs: Any) -> PackedConv2d:
        return _in_float32(super()._apply(*args, **kwargs))

    def extra_repr(self) -> str:
        """Channels and geometry, for ``print``."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}"
        )


class PackedLinear(nn.Module):
    """A ``BinaryLinear`` in evaluation: a convolution whose cells are the vectors.

    Attributes:
        bits, scale, shift, thresholds: as of ``PackedConv2d``.
    """

    def __init__(self, layer: BinaryLinear) -> None:
        """Pack a layer."""
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        _set_up(self, layer, None, None)

    def forward(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any O"]:
        """As the layer: multiply, scale, add the bias."""
        vectors = x.reshape(-1, x.shape[-1])
        if not len(vectors):
            return x.new_zeros(*x.shape[:-1], self.out_features)
        bits = pack_bits(vectors.T[None, :, None], self.thresholds)
        weights = weights_of(self, (0, 0))
        y, _ = packed_conv(bits, weights, scale=self.scale[0], shift=self.shift[0])
        return y[0, :, 0].T.reshape(*x.shape[:-1], self.out_features)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._packed = None

    def _apply(self, *args: Any, **kwargs: Any) -> PackedLinear:
        return _in_float32(super()._apply(*args, **kwargs))

    def extra_repr(self) -> str:
        """Features, for ``print``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def check_layer(layer: BinaryConv2d | BinaryLinear) -> None:
    """Refuse a layer that has what the packed form has not.

    Raises:
        ValueError: says what.
    """
    if type(layer) not in (BinaryConv2d, BinaryLinear):
        raise ValueError(f"{type(layer).__name__}, made from a 1-bit layer, cannot be packed")
    if type(layer.input_quantizer) not in (Sign, ShiftedSign):
        raise ValueError(f"{type(layer.input_quantizer).__name__} of the input cannot be packed")
    if isinstance(layer, BinaryLinear):
        return
    if layer.groups != 1:
        raise ValueError(f"groups={layer.groups} cannot be packed: expected 1")
    if tuple(layer.dilation) != (1, 1):
        raise ValueError(f"dilation={tuple(layer.dilation)} cannot be packed: expected 1")
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        padding = f"padding={layer.padding!r}, padding_mode={layer.padding_mode!r}"
        raise ValueError(f"{padding} cannot be packed: expected numbers, and zeros")
    if any(p >= k for p, k in zip(layer.padding, layer.kernel_size, strict=True)):
        raise ValueError(f"padding={layer.padding} of a kernel of {layer.kernel_size}: too large")


def is_packed(model: nn.Module) -> bool:
    """Whether a network has packed layers."""
    return any(isinstance(module, PackedConv2d | PackedLinear) for module in model.modules())


class _Called(nn.Module):
    """An activation that is a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


Part = TypeVar("Part")


def _only(name: str, own: Part | None, behind: Part | None) -> Part | None:
    if own is not None and behind is not None:
        raise ValueError(f"a layer with its own {name}, and another {name} behind it")
    return behind if own is None else own


def _in_float32(module: Part) -> Part:
    """A packed layer as it is, unless it was converted to another type.

    Raises:
        ValueError: it was.
    """
    if module.scale.dtype != torch.float32:
        raise ValueError(
            f"packed layers compute in float32: {module.scale.dtype} is for the detector before "
            "`pack`"
        )
    return module


@torch.no_grad()
def _set_up(
    module: PackedConv2d | PackedLinear,
    layer: BinaryConv2d | BinaryLinear,
    norm: nn.Module | None,
    activation: Callable[[Tensor], Tensor] | None,
) -> None:
    check_layer(layer)
    signs = layer.binary_weight()
    channels = len(signs)
    affine, slopes = affine_of(norm, channels), slopes_of(activation, channels)
    rest = []
    if affine is None:
        affine, rest = affine_of(None, channels), [norm]
    if slopes is None or (rest and activation is not None):
        slopes, rest = {}, [*rest, activation]
    scale, bias = layer.output_scale().double(), layer.bias
    shift = affine.shift if bias is None else affine.shift + affine.gain * bias.double()
    if "shift_in" in slopes:
        shift = shift - slopes.pop("shift_in").double()
    quantizer = layer.input_quantizer
    thresholds = quantizer.threshold if isinstance(quantizer, ShiftedSign) else None
    module.register_buffer("bits", bytes_of(signs > 0))
    for name, vector in {
        "scale": affine.gain * scale,
        "shift": shift,
        "slope": slopes.get("slope"),
        "offset": slopes.get("offset"),
        "thresholds": thresholds,
    }.items():
        own = None if vector is None else vector.detach().float().clone().contiguous()
        module.register_buffer(name, own)
    module.rest = nn.Sequential(*(x if isinstance(x, nn.Module) else _Called(x) for x in rest))
    module.turns = LevelTurns()
    module.shape = (channels, layer.weight.shape[1], *getattr(layer, "kernel_size", (1, 1)))
    module._packed = None


def bytes_of(ones: Bool[Tensor, "*any"]) -> UInt8[Tensor, " bytes"]:
    """Bits as bytes, one after the other; the last byte is filled with 0."""
    padded = F.pad(ones.flatten(), (0, -ones.numel() % BYTE)).view(-1, BYTE)
    worth = 2 ** torch.arange(BYTE, dtype=torch.uint8, device=ones.device)
    return (padded * worth).sum(1).to(torch.uint8)


def weights_of(module: PackedConv2d | PackedLinear, padding: tuple[int, int]) -> PackedWeights:
    """The bits of a packed layer in the order of the C core, in which they are kept, too."""
    # Kept for this tensor as it is: another may stand in for a while, as in `functional_call`.
    bits, kept = module.bits, module._packed
    version = None if bits.is_inference() else bits._version
    if kept is None or kept[0] is not bits or kept[1] != version:
        places = torch.arange(BYTE, dtype=torch.uint8)
        ones = (bits.cpu()[:, None] >> places & 1).flatten()
        signs = ones[: math.prod(module.shape)].view(module.shape).float() * 2 - 1
        kept = module._packed = (bits, version, PackedWeights.pack(signs, padding))
    return kept[2]
