"""The learned downsampler of ThumbDet: a few strided convolutions, trained with the detector.

Source: "ThumbDet: One thumbnail image is enough for object detection", Pattern Recognition 138
(2023) 109424, Sec. 3.3; the variants with one and with five layers are of its Table 4.

It works on images in [0, 1], before the detector's normalisation: after the last ReLU a
normalised image could not keep its mean. Each kernel stands in phase with the frames of
``lowres_d2.structures``: its central taps are exactly the pixels that one low-resolution pixel
covers. Beyond its border an image goes on with its outermost pixels: zeros there would tint the
first rows and columns of every thumbnail.

Shapes: N images of one size, C = 3 colour channels, H and W multiples of the factor f.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lowres_d2.modeling.resample.resampler import Resampler

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLOURS = 3
# A channel counts as dead where it is positive in a smaller share of the pixels, and starts well
# where it is positive in at least half of them.
_ALIVE_SHARE = 0.01
_WELL_ALIVE_SHARE = 0.5
# Filters that a random start draws before it gives up; half of all filters are alive.
_REDRAWS = 100


@dataclass(frozen=True)
class _Layers:
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    channels: tuple[int, ...]


# (factor, number of layers) -> the layers. The paper gives kernels and channels of the two-layer
# ones, the strides of the 4x one, and the five kernels; (1, 2) for 2x fits its 0.90 GMACs. Strides
# and channels of five layers are our choice.
_VARIANTS = {
    (4, 1): _Layers((5,), (4,), (COLOURS,)),
    (4, 2): _Layers((3, 3), (2, 2), (12, COLOURS)),
    (4, 5): _Layers((7, 5, 3, 1, 1), (2, 2, 1, 1, 1), (12, 12, 12, 12, COLOURS)),
    (2, 2): _Layers((5, 5), (1, 2), (12, COLOURS)),
    # Not the paper's.
    (3, 2): _Layers((5, 3), (3, 1), (12, COLOURS)),
}


class LearnedDownsampler(Resampler):
    """Convolutions with ReLUs that make an image 2, 3 or 4 times smaller (Sec. 3.3, Table 4).

    Args:
        factor: 4 or 2, or 3, which is not the paper's.
        layers: 1, 2 (the paper's) or 5 of them for 4x; 2 otherwise.
        strides: of each layer, where other ones are wanted; their product is the factor.
        init: ``"box"`` starts as a box filter: colours are averaged over each low-resolution pixel,
            and the other hidden channels start random without a say. ``"random"`` draws everything
            and redraws the filters of colours that would be dead.

    Raises:
        ValueError: there is no such variant, or the strides do not make the factor.
    """

    def __init__(
        self,
        factor: int = 4,
        layers: int = 2,
        strides: Sequence[int] | None = None,
        init: Literal["box", "random"] = "box",
    ) -> None:
        super().__init__(factor)
        if (factor, layers) not in _VARIANTS:
            known = ", ".join(f"{f}x with {n}" for f, n in _VARIANTS)
            raise ValueError(
                f"LearnedDownsampler(factor={factor}, layers={layers}): there are {known} layers"
            )
        if init not in ("box", "random"):
            raise ValueError(f"LearnedDownsampler: init={init!r}, expected 'box' or 'random'")
        variant = _VARIANTS[factor, layers]
        strides = tuple(strides or variant.strides)
        if len(strides) != layers or math.prod(strides) != factor:
            raise ValueError(
                f"LearnedDownsampler: strides={list(strides)}, expected {layers} whose product is "
                f"the factor {factor}"
            )
        inputs = (COLOURS, *variant.channels[:-1])
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride)
            for before, after, kernel, stride in zip(
                inputs, variant.channels, variant.kernels, strides, strict=True
            )
        )
        self._margin = _margin(variant.kernels, strides)
        if init == "box":
            self._start_as_box_filter()
        elif not self.layers[0].weight.is_meta:  # no values, none dead
            self._redraw_dead_filters()

    def resample(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H / f, W / f), at least 0 and, once trained, not bound by 1."""
        before, after = self._margin
        images = F.pad(images, (before, after, before, after), mode="replicate")
        for layer in self.layers:
            images = F.relu(layer(images), inplace=True)
        # Channels last, three numbers in a row, whatever follows pixel by pixel would be slow.
        return images.contiguous()

    @torch.no_grad()
    def dead_channels(self, images: Sequence[Tensor]) -> list[int]:
        """Colour channels that are zero nearly everywhere in all of these images' thumbnails.

        A dead channel gets no gradient through its ReLU and stays dead.

        Args:
            images: (3, H, W) each, in [0, 1].
        """
        return self._positive_in_less_than(_ALIVE_SHARE, images)

    def _positive_in_less_than(self, share: float, images: Sequence[Tensor]) -> list[int]:
        positive = [(low_res > 0).flatten(1) for low_res in self(images)]
        shares = torch.cat(positive, dim=1).float().mean(dim=1)
        return (shares < share).nonzero().flatten().tolist()

    @torch.no_grad()
    def _start_as_box_filter(self) -> None:
        probes = torch.stack(_probe_images(int(self.factor)))
        for layer in self.layers:
            stride = layer.stride[0]
            first = _taps_before(layer.kernel_size[0], stride)
            covered = slice(first, first + stride)
            layer.weight[:COLOURS] = 0
            for colour in range(COLOURS):
                layer.weight[colour, colour, covered, covered] = 1 / stride**2
            # Hidden channels beyond the first three stay random, and their biases let an average
            # pixel through the ReLU; but no colour listens to them yet: the start is exact.
            layer.bias[:] = 0
            mean = layer(probes).mean(dim=(0, 2, 3))
            layer.bias[COLOURS:] = 0.1 + F.relu(-mean[COLOURS:])
            probes = F.relu(layer(probes))

    @torch.no_grad()
    def _redraw_dead_filters(self) -> None:
        last = self.layers[-1]
        probes = _probe_images(int(self.factor))
        for _ in range(_REDRAWS):
            dead = self._positive_in_less_than(_WELL_ALIVE_SHARE, probes)
            if not dead:
                return
            fresh = nn.Conv2d(last.in_channels, last.out_channels, last.kernel_size)
            last.weight[dead] = fresh.weight[dead]
            last.bias[dead] = fresh.bias[dead]
        raise ValueError(
            f"LearnedDownsampler: channels {dead} stay dead after {_REDRAWS} draws: use another "
            "train.seed or init='box'"
        )


def _taps_before(kernel: int, stride: int) -> int:
    """Taps before the first pixel that is covered: the covered ones are central in the kernel."""
    return (kernel - stride + 1) // 2


def _margin(kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Pixels that all layers together need before and after an image."""
    before = after = 0
    scale = 1  # of a layer's input, in pixels
    for kernel, stride in zip(kernels, strides, strict=True):
        first = _taps_before(kernel, stride)
        before += scale * first
        after += scale * (kernel - stride - first)
        scale *= stride
    return before, after


def _probe_images(factor: int) -> list[Tensor]:
    """Sixteen flat colours with a little noise, 8 x 8 low-resolution pixels each."""
    side = 8 * factor
    colours = torch.rand(16, COLOURS, 1, 1)
    return list((colours + 0.1 * torch.randn(16, COLOURS, side, side)).clamp(0, 1))
