"""One checkpoint, any factor: a detector that is trained at several resolutions at once.

Beyond ThumbDet. A batch is reduced by one factor, drawn for it; detector, teacher and objectives
are the same for all, norms are each factor's own. What speed is worth is chosen in evaluation:
``model.resampler.factor=2``. Images and boxes are those of ``low_res_detector``.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from lowres_d2.layers.norm_by_factor import norms_by_factor
from lowres_d2.modeling.meta_arch.low_res_detector import LowResDetector
from lowres_d2.modeling.resample import AnyFactor

import torch
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn


class AnyFactorDetector(LowResDetector):
    """``LowResDetector`` with a resampler for each of several factors.

    In training the factor follows from the number of the step alone, so that all processes work at
    the same one and a resumed run draws it again.

    Args:
        detector: its norms are replaced by one for each factor.
        resampler: for all factors.
        **kwargs: those of ``LowResDetector``.
    """

    resampler: AnyFactor

    def __init__(self, detector: nn.Module, resampler: AnyFactor, **kwargs: Any) -> None:
        norms = norms_by_factor(detector, resampler.factors)
        super().__init__(detector, resampler, **kwargs)
        self._norms = norms
        self.use_factor(resampler.evaluated_factor)

    def use_factor(self, factor: Fraction | int | str) -> None:
        """Work at this factor, until training draws another one.

        Raises:
            ValueError: it is none of the resampler's.
        """
        self.resampler.use(factor)
        for norm in self._norms:
            norm.factor = self.resampler.factor

    def train(self, mode: bool = True) -> AnyFactorDetector:
        """Training mode, or evaluation mode at the factor that the recipe has for it."""
        if not mode:
            self.use_factor(self.resampler.evaluated_factor)
        return super().train(mode)

    def _resample(self, images: list[Tensor]) -> list[Tensor]:
        if self.training:
            self.use_factor(self._drawn_factor())
        return super()._resample(images)

    def _drawn_factor(self) -> Fraction:
        factors = self.resampler.factors
        if not _trains(self.detector):  # as in a stage of the resamplers': one that learns
            by_factor = self.resampler.by_factor
            factors = [f for f in factors if _trains(by_factor[str(f)])] or factors
        # Outside a run, which has no steps, it follows from torch's seed.
        step = get_event_storage().iter if has_event_storage() else int(torch.randint(2**31, ()))
        shares = [self.resampler.shares[factor] for factor in factors]
        return random.Random(step).choices(factors, shares)[0]


def _trains(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


class AtFactor(nn.Module):
    """An any-factor detector that evaluates at one factor, whatever it did before.

    Args:
        model: shared with the views of other factors.
        factor: one of its own.
    """

    def __init__(self, model: AnyFactorDetector, factor: Fraction | int | str) -> None:
        super().__init__()
        model.use_factor(factor)  # raises where it has none
        self.model = model
        self.factor = factor

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Detections, as of the model."""
        self.model.use_factor(self.factor)
        return self.model(batched_inputs)
