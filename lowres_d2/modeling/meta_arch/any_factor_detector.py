"""One checkpoint for several factors: a detector that is trained at several resolutions at once.

This goes beyond ThumbDet. Each batch is downsampled by one factor, drawn at random. Detector,
teacher and objectives are the same for all factors; only norms are separate for each. Evaluation
chooses the factor, and with it the speed: ``model.resampler.factor=2``. Images and boxes are those
of ``low_res_detector``.
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
from jaxtyping import Float
from torch import Tensor, nn


class AnyFactorDetector(LowResDetector):
    """``LowResDetector`` with a resampler for each of several factors.

    In training the factor depends on the iteration alone, so that all processes use the same factor
    and a resumed run draws it again.

    Args:
        detector: any detector; each of its norms is replaced by one norm for each factor.
        resampler: resampler for all factors.
        **kwargs: other arguments of ``LowResDetector``.
    """

    resampler: AnyFactor

    def __init__(self, detector: nn.Module, resampler: AnyFactor, **kwargs: Any) -> None:
        # First, so that hooks of taps at norms are installed on the new norms.
        norms = norms_by_factor(detector, resampler.factors)
        super().__init__(detector, resampler, **kwargs)
        # A plain list: the detector already owns these modules.
        self._norms = norms
        self.use_factor(resampler.evaluated_factor)

    def use_factor(self, factor: Fraction | int | str) -> None:
        """Use this factor until training draws another one.

        Raises:
            ValueError: the resampler does not have this factor.
        """
        self.resampler.use(factor)
        for norm in self._norms:
            norm.factor = self.resampler.factor

    def train(self, mode: bool = True) -> AnyFactorDetector:
        """Training mode, or evaluation mode at the recipe's factor for evaluation."""
        if not mode:
            self.use_factor(self.resampler.evaluated_factor)
        return super().train(mode)

    def _resample(self, images: list[Float[Tensor, "C _H _W"]]) -> list[Float[Tensor, "C _H _W"]]:
        if self.training:
            self.use_factor(self._drawn_factor())
        return super()._resample(images)

    def _drawn_factor(self) -> Fraction:
        factors = self.resampler.factors
        if not _trains(self.detector):  # a stage that trains resamplers: draw one that is trainable
            by_factor = self.resampler.by_factor
            factors = [f for f in factors if _trains(by_factor[str(f)])] or factors
        # Without an event storage there is no iteration: torch's random state decides.
        seed = get_event_storage().iter if has_event_storage() else int(torch.randint(2**31, ()))
        shares = [self.resampler.shares[factor] for factor in factors]
        # A generator of its own: the global ones differ between processes.
        return random.Random(seed).choices(factors, shares)[0]


def _trains(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


class AtFactor(nn.Module):
    """An any-factor detector that evaluates at one factor, whichever factor it used before.

    Args:
        model: detector, which other ``AtFactor`` may share.
        factor: one of the detector's factors.
    """

    def __init__(self, model: AnyFactorDetector, factor: Fraction | int | str) -> None:
        super().__init__()
        model.use_factor(factor)  # raises if it does not have this factor
        self.model = model
        self.factor = factor

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Detections of the model at this factor."""
        self.model.use_factor(self.factor)
        return self.model(batched_inputs)
