"""Several resamplers of which one is in use, so that one detector serves several factors.

Images are those of ``resampler``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lowres_d2.modeling.resample.resampler import Resampler
from lowres_d2.structures import as_factor

from jaxtyping import Float
from torch import Tensor, nn


class AnyFactor(Resampler):
    """One resampler per factor.

    Args:
        resamplers: resamplers with different factors.
        factor: the factor that evaluation uses.
        shares: relative frequencies with which training draws the resamplers; None: equal ones.

    Raises:
        ValueError: two resamplers have the same factor, none has the requested one, or the shares
            are not one positive number per resampler.
    """

    def __init__(
        self,
        resamplers: Sequence[Resampler],
        factor: Fraction | int | float | str,
        shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__(factor)
        # Strings such as '3/2': keys of a ModuleDict have no dots.
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
        # `factor` changes in training; evaluation goes back to this one.
        self.evaluated_factor = self.factor

    def use(self, factor: Fraction | int | float | str) -> None:
        """Downsample images by this factor from now on.

        Raises:
            ValueError: there is no resampler for this factor.
        """
        factor = as_factor(factor)
        if factor not in self.factors:
            raise ValueError(
                f"model.resampler.factor={factor}: expected one of "
                f"{', '.join(map(str, self.factors))}"
            )
        self.factor = factor

    def forward(
        self, images: Sequence[Float[Tensor, "C _H _W"]]
    ) -> list[Float[Tensor, "low_C _H _W"]]:
        """Apply the resampler in use."""
        return self.by_factor[str(self.factor)](images)
