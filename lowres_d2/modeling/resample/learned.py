"""The learned downsampler of ThumbDet: a few strided convolutions, trained with the detector.

Source: "ThumbDet: One thumbnail image is enough for object detection", Pattern Recognition 138
(2023) 109424, Sec. 3.3; the 2x variant is from its Sec. 4.2, those with one and with five layers
are from its Table 4.

It processes images in [0, 1], before the detector's normalisation, because the last ReLU would cut
off the negative values of a normalised image. Each kernel is aligned with the frames of
``lowres_d2.structures``: its central taps are exactly the pixels that one low-resolution pixel
covers. Images are padded with their outermost pixels: zeros would tint the first rows and columns
of every thumbnail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lowres_d2.modeling.resample.resampler import Resampler

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

COLOURS = 3
# A colour channel is dead if a smaller share of its pixels is positive; a random start is accepted
# if at least half of them are.
_ALIVE_SHARE = 0.01
_WELL_ALIVE_SHARE = 0.5
# Draws of a random start before it gives up; about half of all drawn filters are alive.
_REDRAWS = 100


@dataclass(frozen=True)
class _Layers:
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    channels: tuple[int, ...]


# (factor, number of layers) -> the layers. The paper gives the kernels and channels of the variants
# with two layers, the strides of the 4x one, and the five kernels. Strides (1, 2) for 2x match its
# 0.90 GMACs. Strides and channels of the five layers are our choice.
_VARIANTS = {
    (4, 1): _Layers((5,), (4,), (COLOURS,)),
    (4, 2): _Layers((3, 3), (2, 2), (12, COLOURS)),
    (4, 5): _Layers((7, 5, 3, 1, 1), (2, 2, 1, 1, 1), (12, 12, 12, 12, COLOURS)),
    (2, 2): _Layers((5, 5), (1, 2), (12, COLOURS)),
    # Not in the paper.
    (2, 1): _Layers((4,), (2,), (COLOURS,)),
    (3, 2): _Layers((5, 3), (3, 1), (12, COLOURS)),
}


class LearnedDownsampler(Resampler):
    """Convolutions with ReLUs that downsample images by 2, 3 or 4 (Sec. 3.3, Table 4).

    Args:
        factor: 4 or 2; 3 is not in the paper.
        layers: number of layers: 1, 2 (the paper's choice) or 5 for 4x, 1 or 2 for 2x, 2 for 3x.
        strides: strides of the layers instead of the variant's; their product is the factor.
        init: ``"box"`` starts as a box filter: it averages colours over each low-resolution pixel;
            all other channels start random, and hidden ones with zero weight in the colours.
            ``"random"`` draws all weights and redraws the last filters that would be dead.
        in_channels: channels of the image: 3 colours; 1 of grey images, or more of multispectral
            ones (not in the paper).
        out_channels: channels of the low-resolution image, at least as many; None: as many. More
            of them (not in the paper) need a detector whose stem and pixel statistics have as many.

    Raises:
        ValueError: there is no such variant, the product of the strides is not the factor, a stride
            is wider than its layer's kernel, or there are fewer channels than the image has.
    """

    def __init__(
        self,
        factor: int = 4,
        layers: int = 2,
        strides: Sequence[int] | None = None,
        init: Literal["box", "random"] = "box",
        in_channels: int = COLOURS,
        out_channels: int | None = None,
    ) -> None:
        super().__init__(factor)
        self.in_channels = in_channels
        self.out_channels = in_channels if out_channels is None else out_channels
        if not 1 <= in_channels <= self.out_channels:
            raise ValueError(
                f"LearnedDownsampler: in_channels={in_channels}, out_channels={out_channels}: "
                "expected at least 1, and at least as many of the second"
            )
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
        if any(stride > kernel for stride, kernel in zip(strides, variant.kernels, strict=True)):
            raise ValueError(
                f"LearnedDownsampler: strides={list(strides)} skip pixels, expected at most the "
                f"kernels' sizes {list(variant.kernels)}"
            )
        # A box filter needs a channel for each of the image's in every layer.
        hidden = (max(channels, in_channels) for channels in variant.channels[:-1])
        outputs = (*hidden, self.out_channels)
        inputs = (in_channels, *outputs[:-1])
        self.layers = nn.ModuleList(
            # With biases, which the authors' code lacks. No padding: `resample` pads once for all.
            nn.Conv2d(before, after, kernel, stride)
            for before, after, kernel, stride in zip(
                inputs, outputs, variant.kernels, strides, strict=True
            )
        )
        self._margin = _margin(variant.kernels, strides)
        if init == "box":
            self._start_as_box_filter()
        elif not self.layers[0].weight.is_meta:  # meta tensors have no values to check
            self._redraw_dead_filters()

    def resample(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N low_C low_H low_W"]:
        """Downsample images of one size to values of at least 0, which training may push over 1."""
        before, after = self._margin
        images = F.pad(images, (before, after, before, after), mode="replicate")
        for layer in self.layers:
            # Fig. 3: also after the last layer. In place, since its backward needs only the output.
            images = F.relu(layer(images), inplace=True)
        # In channels_last, with 3 channels innermost, later per-pixel operations would be slow.
        return images.contiguous()

    @torch.no_grad()
    def dead_channels(self, images: Sequence[Float[Tensor, "C _H _W"]]) -> list[int]:
        """Channels that are zero nearly everywhere in the thumbnails of these images.

        A dead channel gets no gradient through its ReLU and stays dead.
        """
        return self._positive_in_less_than(_ALIVE_SHARE, images)

    def _positive_in_less_than(
        self, share: float, images: Sequence[Float[Tensor, "C _H _W"]]
    ) -> list[int]:
        positive = [(low_res > 0).flatten(1) for low_res in self(images)]
        shares = torch.cat(positive, dim=1).float().mean(dim=1)
        return (shares < share).nonzero().flatten().tolist()

    @torch.no_grad()
    def _start_as_box_filter(self) -> None:
        colours = self.in_channels
        probes = torch.stack(self._probe_images())
        for layer in self.layers:
            stride = layer.stride[0]
            first = _taps_before(layer.kernel_size[0], stride)
            covered = slice(first, first + stride)
            layer.weight[:colours] = 0
            for colour in range(colours):
                layer.weight[colour, colour, covered, covered] = 1 / stride**2
            # Channels beyond those of the image stay random, with biases that make them positive
            # for an average pixel. The next layer's colours do not use them yet (zero weights), so
            # the colours start as an exact box filter.
            layer.bias[:] = 0
            mean = layer(probes).mean(dim=(0, 2, 3))
            layer.bias[colours:] = 0.1 + F.relu(-mean[colours:])
            probes = F.relu(layer(probes))

    @torch.no_grad()
    def _redraw_dead_filters(self) -> None:
        last = self.layers[-1]
        probes = self._probe_images()
        # Of a random start as in the authors' code, 70 % of seeds leave a colour dead (measured).
        for _ in range(_REDRAWS):
            dead = self._positive_in_less_than(_WELL_ALIVE_SHARE, probes)
            if not dead:
                return
            fresh = nn.Conv2d(last.in_channels, last.out_channels, last.kernel_size)
            last.weight[dead] = fresh.weight[dead]
            last.bias[dead] = fresh.bias[dead]
        raise ValueError(
            f"LearnedDownsampler: channels {dead} are dead after {_REDRAWS} draws: use another "
            "train.seed or init='box'"
        )

    def _probe_images(self) -> list[Float[Tensor, "C H W"]]:
        """Sixteen uniform colours with a little noise, 8 x 8 low-resolution pixels each."""
        side = 8 * int(self.factor)
        colours = torch.rand(16, self.in_channels, 1, 1)
        noise = torch.randn(16, self.in_channels, side, side)
        return list((colours + 0.1 * noise).clamp(0, 1))


def _taps_before(kernel: int, stride: int) -> int:
    """Taps before the first covered pixel; the covered pixels are central in the kernel."""
    # Taps 1 and 2 of 3x3 with stride 2, 1 to 4 of 5x5 with stride 4.
    return (kernel - stride + 1) // 2


def _margin(kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Pixels of padding that all layers together need before and after an image."""
    before = after = 0
    scale = 1  # of a layer's input, in pixels
    for kernel, stride in zip(kernels, strides, strict=True):
        first = _taps_before(kernel, stride)
        before += scale * first
        after += scale * (kernel - stride - first)
        scale *= stride
    return before, after
