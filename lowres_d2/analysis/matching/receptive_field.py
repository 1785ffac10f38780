"""Receptive fields of a feature map's cells, and of regions at different image resolutions.

Source: Noh et al., "Better to Follow, Follow to Be Better" (ICCV 2019), Eq. 2 and 3: in an image of
half the size, a region is half as many cells wide, but each cell sees as many pixels as before.
Units: pixels of the network's input along its width; regions in cells.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lowres_d2.layers.k_bit import LearnedStep
from lowres_d2.layers.one_bit import ShiftedPReLU, Sign

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Network = Callable[[Tensor], Mapping[str, Tensor]]

# Rows of the probe: enough for any pyramid to upsample its coarsest feature map to the finest.
_HEIGHT = 32
_WIDTHS = (1024, 2048, 4096, 8192, 16384, 32768)


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of a cell in the middle of a feature map.

    Attributes:
        size: pixels from the first to the last one that the cell depends on.
        stride: pixels from a cell to the next.
    """

    size: int
    stride: int

    def relative(self, width: float, image: float) -> float:
        """Receptive field of a region, relative to the width of the image (Eq. 2).

        Args:
            width: width of the region, in cells.
            image: width of the image, in pixels.
        """
        return (self.size + (width - 1) * self.stride) / image


def discrepancy(
    field: ReceptiveField,
    width: float,
    image: float,
    target: ReceptiveField | None = None,
    ratio: int = 2,
) -> float:
    """Relative receptive field of a region in the smaller image, over that in the full-size one.

    Eq. 3; at 1, both features of the region have seen the same part of the image.

    Args:
        field: receptive field of the network for the smaller image.
        width: width of the region at full size, in cells.
        image: width of the image at full size, in pixels.
        target: receptive field of the network for the full-size image; by default ``field``.
        ratio: downsampling factor of the smaller image, 2 in the paper.
    """
    full = (target or field).relative(width, image)
    return field.relative(width / ratio, image / ratio) / full


def receptive_field(network: Network, name: str, channels: int = 3) -> ReceptiveField:
    """Receptive field of one output of a backbone, or of an atrous twin.

    Exact for any weights: a cell sees a pixel if a NaN there reaches the cell. Norms count as
    cellwise, signs and roundings of layers of few bits as their input, and pooling of the whole
    feature map (squeeze-and-excitation) as a constant. In a pyramid cells differ: the measured one
    lies where cells of all coarser feature maps meet.

    Args:
        network: maps images (N, C, H, W) to feature maps by name; a module is in eval mode.
        name: name of the output.
        channels: channels of an image.

    Raises:
        KeyError: there is no such output.
        ValueError: its cells see more than 16384 pixels, or none; the network is in training mode,
            or calls ``torch.sign`` or ``torch.where``, which hide NaN.
    """
    if getattr(network, "training", False):
        raise ValueError("receptive field: the network is in training mode: call its eval() first")
    with torch.no_grad(), _Spreading(), _without_quantizers(network):
        for width in _WIDTHS:
            probe = _Probe(network, name, width, channels)
            if not probe.sees(0, width):
                raise ValueError(f"output {name!r} depends on no pixel of the image")
            # Quarters, not only the outermost columns, which may lie in a gap of a dilated layer.
            if not probe.sees(0, width // 4) and not probe.sees(width - width // 4, width):
                return probe.measure()
    raise ValueError(f"a cell of output {name!r} sees more than {width // 2} pixels")


@contextmanager
def _without_quantizers(network: Network) -> Iterator[None]:
    """Layers of few bits get their input as it is for a while: a sign is never NaN."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    cellwise = [m for m in modules if isinstance(m, Sign | LearnedStep | ShiftedPReLU)]
    for module in cellwise:
        module.forward = lambda x: x
    try:
        yield
    finally:
        for module in cellwise:
            del module.forward


class _Probe:
    """The cell in the middle of an output, and images that are NaN in some columns."""

    def __init__(self, network: Network, name: str, width: int, channels: int) -> None:
        self._network, self._name, self._width = network, name, width
        self._channels = channels
        outputs = network(torch.ones(1, channels, _HEIGHT, width))
        if name not in outputs:
            raise KeyError(f"no output {name!r}: the network has {', '.join(outputs)}")
        self._stride = round(width / outputs[name].shape[-1])

    def sees(self, start: int, stop: int) -> bool:
        """Whether the cell depends on any pixel of columns from ``start`` to before ``stop``."""
        image = torch.ones(1, self._channels, _HEIGHT, self._width)
        image[..., start:stop] = torch.nan
        output = self._network(image)[self._name]
        return bool(output[..., output.shape[-1] // 2].isnan().any())

    def measure(self) -> ReceptiveField:
        quarter, end = self._width // 4, self._width
        middle = range(quarter, end - quarter)
        first = quarter + bisect_left(middle, True, key=lambda k: self.sees(0, k + 1))
        last = quarter + bisect_left(middle, True, key=lambda k: not self.sees(k + 1, end))
        return ReceptiveField(last - first + 1, self._stride)


class _Spreading(TorchFunctionMode):
    """Runs a network for its connectivity alone: one channel, no weights, no norms."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return _spread(*args, **kwargs)
        if func in (F.batch_norm, F.group_norm, F.instance_norm, F.prelu):
            return args[0]
        if func is F.adaptive_avg_pool2d:
            return F.adaptive_avg_pool2d(torch.ones_like(args[0]), *args[1:], **kwargs)
        if func in (torch.sign, Tensor.sign, torch.where, Tensor.where):
            raise ValueError(
                f"no receptive field can be measured through torch.{func.__name__}: it hides NaN"
            )
        return func(*args, **kwargs)


def _spread(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Connectivity of a convolution: the maximum of the values it sees, NaN if one is NaN."""
    kernel = weight.shape[-2:]
    if isinstance(padding, str):
        reach = [d * (k - 1) for d, k in zip(_pair(dilation), kernel, strict=True)]
        padding = [r // 2 if padding == "same" else 0 for r in reach]
    rows, columns = _pair(padding)
    # A sum over channels is NaN if one of them is.
    cells = F.pad(input.sum(dim=1, keepdim=True), (columns, columns, rows, rows))
    return F.max_pool2d(cells, kernel, stride, dilation=dilation)


def _pair(value: Any) -> Sequence[int]:
    return value if isinstance(value, Sequence) else (value, value)
