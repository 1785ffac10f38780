"""Parameters and multiply-adds (MACs) of a model, by part.

A multiply-add counts 1. Counted is what runs in convolutions (deformable ones too), linear layers
and matrix products, attention's included, by ``torch.utils.flop_counter`` on the operations as they
happen, so that no model needs tracing. Not counted are interpolation (bicubic resampling,
``grid_sample``, RoIAlign), norms, activations, sums, pooling, NMS and the preparation of pictures.
A two-stage head counts for as many proposals as it got.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lowres_d2.analysis.parts import metering, part_of

import torch
import torchvision  # noqa: F401  (registers its operators)
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

# Trained with the model, and dropped at deployment.
_NOT_DEPLOYED = "objectives"
# What a picture passes first; the other parts follow in the order of the model.
_FIRST = ("resampler", "backbone", "neck")


@dataclass(frozen=True)
class Complexity:
    """What a model costs.

    Attributes:
        parameters: by part, see ``lowres_d2.analysis.parts``; those of objectives are left out.
        macs: multiply-adds of a forward by part, mean over the pictures.
        pictures: how many these were.
    """

    parameters: Mapping[str, int]
    macs: Mapping[str, float]
    pictures: int

    @property
    def parts(self) -> list[str]:
        """All parts that have either."""
        parts = dict.fromkeys([*self.parameters, *self.macs])
        return [*(p for p in _FIRST if p in parts), *(p for p in parts if p not in _FIRST)]

    @property
    def total_parameters(self) -> int:
        """Parameters of all parts."""
        return sum(self.parameters.values())

    @property
    def total_macs(self) -> float:
        """Multiply-adds of all parts."""
        return sum(self.macs.values())


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Parameters by part, shared ones once; frozen ones count, buffers do not."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[part_of(name, model)] += parameter.numel()
    counts.pop(_NOT_DEPLOYED, None)
    return dict(counts)


@torch.no_grad()
def measure_complexity(model: nn.Module, pictures: Iterable[dict[str, Any]]) -> Complexity:
    """Run a model on pictures, one at a time, and count.

    Args:
        model: a detector, or a composition with one; put into evaluation mode.
        pictures: Detectron2 inputs.

    Raises:
        ValueError: there is no picture.
    """
    model.eval()
    sums: Counter[str] = Counter()
    number = 0
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    # Fused attention is one operation, which not every version of the counter knows.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:
            for number, picture in enumerate(pictures, start=1):
                with metering(model, counter.get_total_flops) as flops:
                    model([picture])
                sums.update(flops)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    if not number:
        raise ValueError("no picture to count multiply-adds on: give at least one")
    macs = {part: total / 2 / number for part, total in sums.items() if total}
    return Complexity(count_parameters(model), macs, number)


def _deformable_convolution(
    picture: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any
) -> int:
    """Floating-point operations, from shapes: as many as of the convolution without offsets."""
    return conv_flop_count(picture, weight, out_shape)


_FORMULAS = {torch.ops.torchvision.deform_conv2d: _deformable_convolution}
