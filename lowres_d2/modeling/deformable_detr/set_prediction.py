"""What a detector with queries predicts, and the ground truth that it is compared with.

Boxes are (x, y, width, height) around their centre, normalised by the image's size.
"""

from __future__ import annotations

from typing import TypedDict

from jaxtyping import Float, Int
from torch import Tensor


class Target(TypedDict):
    """Ground truth of one image."""

    labels: Int[Tensor, " M"]
    boxes: Float[Tensor, "M 4"]


class Predictions(TypedDict):
    """Predictions of one layer: class logits before the sigmoid, and boxes."""

    pred_logits: Float[Tensor, "N Q K"]
    pred_boxes: Float[Tensor, "N Q 4"]


class Outputs(Predictions, total=False):
    """Predictions of the last decoder layer; in training also those of other layers.

    ``aux_outputs`` are from the earlier decoder layers, first to last. ``enc_outputs`` are from the
    encoder in the two-stage variant, with a query for each of the S cells.
    """

    aux_outputs: list[Predictions]
    enc_outputs: Predictions
