"""Learning rates by part of the model, as in Deformable DETR (Zhu et al. 2021, section 5)."""

from __future__ import annotations

from collections.abc import Mapping


class LearningRateFactors:
    """Learning-rate multipliers by parameter name, for ``get_default_optimizer_params``.

    Args:
        factors: multiplier for each part of a dotted name; if several parts fit, the first counts.

    Example:
        ``LearningRateFactors({"backbone": 0.1})("detector.backbone.stem.conv1.weight")`` is 0.1.
    """

    def __init__(self, factors: Mapping[str, float]) -> None:
        self.factors = dict(factors)

    def __call__(self, name: str) -> float:
        """The multiplier of the parameter of this name; 1 if no part fits."""
        parts = name.split(".")
        return next((factor for part, factor in self.factors.items() if part in parts), 1.0)
