"""Several resamplers of which one is in use: one detector for images reduced by any of a few
factors.

Images as in ``resampler``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lowres_d2.modeling.resample.resampler import Resampler
from lowres_d2.structures import as_factor

from torch import Tensor, nn


class AnyFactor(Resampler):
    """One resampler a factor.

    Args:
        resamplers: each with a factor of its own.
        factor: of the one that evaluation uses.
        shares: how often training draws each, relative to each other; None: all alike.

    Raises:
        ValueError: two have one factor, none has the one asked for, or the shares are no positive
            numbers, one for each.
    """

    def __init__(
        self,
        resamplers: Sequence[Resampler],
        factor: Fraction | int | float | str,
        shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__(factor)
        by_factor = {str(resampler.factor): resampler for resampler in resamplers}
        if len(by_factor) < len(resamplers):
            raise ValueError(
                f"AnyFactor: resamplers of factors {', '.join(str(r.factor) for r in resamplers)}: "
                "each needs a factor of its own"
            )
        shares = [1.0] * len(resamplers) if shares is None else list(shares)
        if len(shares) != len(resamplers) or not all(share > 0 for share in shares):
            raise ValueError(
                f"AnyFactor: shares={shares}: expected {len(resamplers)} positive numbers, one for "
                "each resampler"
            )
        self.by_factor = nn.ModuleDict(by_factor)
        self.factors = tuple(resampler.factor for resampler in resamplers)
        self.shares = dict(zip(self.factors, shares, strict=True))
        self.use(self.factor)
        self.evaluated_factor = self.factor

    def use(self, factor: Fraction | int | float | str) -> None:
        """Reduce images by this factor from now on.

        Raises:
            ValueError: there is no resampler for it.
        """
        factor = as_factor(factor)
        if factor not in self.factors:
            raise ValueError(
                f"model.resampler.factor={factor}: expected one of "
                f"{', '.join(map(str, self.factors))}"
            )
        self.factor = factor

    def forward(self, images: Sequence[Tensor]) -> list[Tensor]:
        """What the resampler in use makes of them."""
        return self.by_factor[str(self.factor)](images)
