"""Whether an exported model finds what eager torch finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lowres_d2.deploy.export.candidates import Selection

import torch
from detectron2.structures import Instances

Model = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Differences:
    """Of an exported model to the eager one.

    Attributes:
        images: number of images.
        found: number of detections, of a classifier of scores.
        box: largest difference of a side, in pixels of the images.
        score: largest difference of a score.
        unmatched: detections of either model that the other one does not have.
    """

    images: int
    found: int
    box: float
    score: float
    unmatched: int

    def __str__(self) -> str:
        text = f"{self.found} detections on {self.images} images, largest differences to torch: "
        return text + f"boxes {self.box:.1e} px, scores {self.score:.1e}"


@torch.no_grad()
def compare(
    eager: Model,
    exported: Model,
    inputs: Sequence[dict[str, Any]],
    selection: Selection | None,
    box_tolerance: float,
    score_tolerance: float,
) -> Differences:
    """Run both models on images.

    Detections are the same if their classes are equal, and boxes and scores within the tolerances.
    Those at the score threshold, or the last ones where a model gives as many as it may, need not
    be in both: rounding alone decides about them.

    Args:
        eager: model in evaluation mode.
        exported: the exported one.
        inputs: of the models.
        selection: of the exported one.
        box_tolerance: in pixels.
        score_tolerance: of scores.
    """
    boxes, scores, number, unmatched = [0.0], [0.0], 0, 0
    for x in inputs:
        right, found = eager([x])[0], exported([x])[0]
        if "instances" not in right:
            scores.append(float((right["scores"] - found["scores"]).abs().max()))
            number += len(right["scores"])
            continue
        right, found = right["instances"], found["instances"]
        number += len(right)
        far = _distances(right, found)  # (right, found, 2): of boxes, of scores
        same = (far[..., 0] <= box_tolerance) & (far[..., 1] <= score_tolerance)
        for mine, alike in ((right, same), (found, same.T)):
            alone = ~alike.any(dim=1)
            alone &= mine.scores > _cut(mine, selection) + score_tolerance
            unmatched += int(alone.sum())
        pairs = far[same]
        boxes += pairs[:, 0].tolist()
        scores += pairs[:, 1].tolist()
    return Differences(len(inputs), number, max(boxes), max(scores), unmatched)


def _cut(found: Instances, selection: Selection) -> float:
    """The lowest score that is surely kept."""
    if len(found) == selection.max_detections:
        return float(found.scores.min())
    return selection.score_threshold or 0.0


def _distances(right: Instances, found: Instances) -> torch.Tensor:
    sides = right.pred_boxes.tensor[:, None] - found.pred_boxes.tensor[None]
    sides = sides.abs().amax(dim=2)
    scores = (right.scores[:, None] - found.scores[None]).abs()
    other = right.pred_classes[:, None] != found.pred_classes[None]
    return torch.stack([sides.masked_fill(other, float("inf")), scores], dim=-1)
