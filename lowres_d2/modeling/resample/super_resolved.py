"""Super-resolution first: an image is downsampled, and a frozen trained network restores it.

"Low-resolution visual recognition via deep feature distillation", ICASSP 2019, Sec. 3.5 and
Table 2: 8x8 to 16x16 pixels before the classifier, which is trained and tested on the result.
"""

from __future__ import annotations

from fractions import Fraction

from lowres_d2.modeling.frozen import load_frozen
from lowres_d2.modeling.resample.interpolation import (
    Interpolation,
    check_interpolation,
    rescaled,
)
from lowres_d2.modeling.resample.resampler import Resampler
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.structures import as_factor, check_factor_fits, low_res_size, pad_to_factor

from jaxtyping import Float
from torch import Tensor, nn

KEY = "model.resampler.checkpoint"
NETWORK = "super-resolution network"


class SuperResolved(Resampler):
    """Images downsampled, super-resolved, and resized for the detector.

    The network's weights are saved with the detector's, so that a trained detector needs no other
    file. It is frozen, and stays in evaluation mode.

    Args:
        network: super-resolution network with a ``factor``, from
            ``lowres_d2.modeling.super_resolution``.
        checkpoint: its weights: the folder or a file of a run that trained it in a
            ``SuperResolver``. Empty: a run refuses to start until it is set. None: use the network
            with the weights that it has.
        low_factor: factor of the downsampling; 4: the network gets 8x8 of 32x32 pixels.
        output_factor: size of the image to that of the result, which is ``self.factor``. 1: the
            result has the image's own size; ``low_factor / network.factor``: that which the network
            makes. The paper does not say which.
        interpolation: of downsampling and of resizing, see ``DownUp``.

    Attributes:
        report: how the weights were loaded; None: not from a file.

    Raises:
        ValueError: ``low_factor`` is no multiple of ``output_factor`` or not above 1,
            ``output_factor`` is under 1, or the interpolation is unknown.
    """

    def __init__(
        self,
        network: nn.Module,
        checkpoint: str | None = "",
        low_factor: Fraction | int | float | str = 4,
        output_factor: Fraction | int | float | str = 1,
        interpolation: Interpolation = "bicubic",
    ) -> None:
        super().__init__(output_factor)
        self.low_factor = as_factor(low_factor)
        growth = self.low_factor / self.factor
        if growth.denominator > 1 or self.low_factor <= 1:
            raise ValueError(
                f"low_factor={low_factor}, output_factor={output_factor}: expected a low_factor "
                "above 1 that is a multiple of output_factor"
            )
        if self.factor < 1:
            raise ValueError(
                f"output_factor={output_factor}: the result would be larger than the image itself; "
                "expected 1 or more"
            )
        check_interpolation(interpolation, self.low_factor)
        self._growth = growth.numerator  # pixels of the result in one that the network gets
        self.interpolation = interpolation
        self.network = network.requires_grad_(False).eval()
        self.report: LoadReport | None = None
        self._checkpoint = checkpoint

    def load_frozen_weights(self) -> None:
        """Load the network's weights, on the first call.

        Raises:
            FileNotFoundError: no such file.
            ValueError: none is given, or it has not all of the network's weights, or more.
        """
        # As the run's SuperResolver names it.
        found = load_frozen(self.network, self._checkpoint, NETWORK, KEY, part="network")
        self.report, self._checkpoint = found or self.report, None

    def resample(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C low_H low_W"]:
        size = images.shape[-2], images.shape[-1]
        check_factor_fits(size, self.low_factor)
        padded = pad_to_factor(images, self.low_factor)
        low = rescaled(padded, self.low_factor, self.interpolation)
        # Networks are trained on images in [0, 1], and may overshoot.
        restored = self.network(low).clamp(0, 1)
        wanted = low.shape[-2] * self._growth, low.shape[-1] * self._growth
        if tuple(restored.shape[-2:]) != wanted:
            shrunk = Fraction(self.network.factor, self._growth)
            restored = rescaled(restored, shrunk, self.interpolation)
        height, width = low_res_size(size, self.factor)
        return restored[..., :height, :width]

    def train(self, mode: bool = True) -> SuperResolved:
        """The network stays in evaluation mode, in which batch norm's statistics do not change."""
        super().train(mode)
        self.network.eval()
        return self

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, low_factor={self.low_factor}, "
            f"interpolation={self.interpolation}"
        )
