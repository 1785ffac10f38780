"""Content loss on features: "Photo-realistic single image super-resolution using a generative
adversarial network", Ledig et al., CVPR 2017, Eq. 5.

The paper takes VGG-19, trained on ImageNet; images of 16x16 pixels are too small for it. Here it is
any classifier that another run has trained, such as one of the same data at high resolution.
"""

from __future__ import annotations

from lowres_d2.modeling.frozen import load_frozen
from lowres_d2.modeling.loss_weight import check_loss_weight
from lowres_d2.modeling.teacher import Tap, TapRecorder
from lowres_d2.modeling.weights import LoadReport

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

KEY = "model.detector.content.checkpoint"
CLASSIFIER = "content loss's classifier"


class FeatureContent(nn.Module):
    """The mean of squared differences of a frozen classifier's features.

    Args:
        classifier: called on Detectron2's inputs, of the size that the super-resolution network
            makes; it stays in evaluation mode.
        checkpoint: its weights: the folder or a file of a run that trained it. Empty: a run refuses
            to start until it is set. None: use the classifier with the weights that it has.
        tap: the module whose output the features are, a feature map of the backbone.
        pixels: weight of the mean of squared differences of pixels, which is added.

    Attributes:
        report: how the weights were loaded; None: not from a file.

    Raises:
        KeyError: the classifier has no such module.
        ValueError: the weight is negative.
    """

    def __init__(
        self,
        classifier: nn.Module,
        checkpoint: str | None = "",
        tap: str = "backbone.res3",
        pixels: float = 0.0,
    ) -> None:
        super().__init__()
        check_loss_weight("pixels", pixels)
        self.classifier = classifier.requires_grad_(False).eval()
        self.pixels = pixels
        self._tap = Tap(tap, call=0)
        self._recorder = TapRecorder(self.classifier, [self._tap])
        self.report: LoadReport | None = None
        self._checkpoint = checkpoint

    def load_frozen_weights(self) -> None:
        """Load the classifier's weights, on the first call.

        Raises:
            FileNotFoundError: no such file.
            ValueError: none is given, or it has not all of the classifier's weights, or more.
        """
        found = load_frozen(self.classifier, self._checkpoint, CLASSIFIER, KEY)
        self.report, self._checkpoint = found or self.report, None

    def forward(
        self, generated: Float[Tensor, "N C H W"], targets: Float[Tensor, "N C H W"]
    ) -> Float[Tensor, ""]:
        """The distance of images in [0, 1] to their targets, into which no gradient flows.

        Raises:
            ValueError: what is tapped is no tensor.
        """
        with torch.no_grad():
            wanted = self._features(targets)
        loss = F.mse_loss(self._features(generated), wanted)
        if self.pixels:
            loss = loss + self.pixels * F.mse_loss(generated, targets)
        return loss

    def _features(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C_out h w"]:
        # float16 would lose what its squares differ by.
        with (
            torch.autocast(images.device.type, enabled=False),
            self._recorder.recording([self._tap], {self._tap: 1}) as captured,
        ):
            self.classifier([{"image": image} for image in 255 * images])
        features = captured[self._tap][0]
        if not isinstance(features, Tensor):
            raise ValueError(
                f"tap={self._tap.path!r} gives a {type(features).__name__}: expected a module of "
                "the classifier that gives one feature map"
            )
        return features

    def train(self, mode: bool = True) -> FeatureContent:
        """The classifier stays in evaluation mode; batch norm's statistics do not change."""
        super().train(mode)
        self.classifier.eval()
        return self
