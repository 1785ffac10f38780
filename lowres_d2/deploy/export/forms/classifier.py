"""Image classifiers for graphs: probabilities of the classes."""

from __future__ import annotations

from lowres_d2.modeling.meta_arch import ImageClassifier

from jaxtyping import Float
from torch import Tensor, nn


class ClassifierForm(nn.Module):
    """The network and its softmax, for images of one size: others are none of its training.

    Args:
        classifier: in evaluation mode.
    """

    OF = (ImageClassifier,)
    needs_nms = False
    any_size = False
    selection = None

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: Float[Tensor, "C h w"]) -> Float[Tensor, " K"]:
        """Probability of each class."""
        (found,) = self.classifier([{"image": image}])
        return found["scores"]
