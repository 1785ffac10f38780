"""Boxes in the colours of their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowres_d2.analysis.figures.detections import Objects
from lowres_d2.analysis.figures.drawing import Color, Panel
from lowres_d2.analysis.figures.outcomes.outcome import IOU, Outcome
from lowres_d2.analysis.figures.sheets import legend

import torch
from PIL import Image
from torchvision.ops import box_iou


@dataclass(frozen=True)
class OutcomeColors:
    """Colours of the kinds of boxes.

    Attributes:
        hit: of an object that was found.
        miss: of an object that was not.
        false_alarm: of a detection that is no hit.
        wrong_class: of one that covers an object of another class, which stands for the miss, too;
            None: it is a false alarm.
        boxes_alone: whether misses have solid lines and nothing has a name beside it.
    """

    hit: Color
    miss: Color
    false_alarm: Color
    wrong_class: Color | None = None
    boxes_alone: bool = False


# On small images, where hardly a box has a neighbour: ThumbDet (Pattern Recognition 138, 2023).
FOUR_OUTCOMES = OutcomeColors((0, 205, 90), (255, 255, 255), (255, 45, 85), (255, 190, 0))
# Among hundreds of tiny objects: DFR-Det (ICML 2024), Fig. 2 and 5.
THREE_OUTCOMES = OutcomeColors((0, 205, 90), (255, 40, 60), (40, 140, 255), boxes_alone=True)


def outcome_legend(colors: OutcomeColors, width: int) -> Image.Image:
    """Names of the kinds of boxes, with their colours."""
    entries = [("hit", colors.hit), ("miss", colors.miss)]
    if colors.wrong_class is None:
        entries.append(("false alarm, or wrong class", colors.false_alarm))
    else:
        entries.append(("right place, wrong class (also a miss)", colors.wrong_class))
        entries.append(("false alarm", colors.false_alarm))
    return legend(entries, width, dashed=[] if colors.boxes_alone else ["miss"])


def draw_outcome(
    panel: Panel, outcome: Outcome, classes: Sequence[str], colors: OutcomeColors = FOUR_OUTCOMES
) -> None:
    """Draw the misses of an image, then its detections, and beside mistakes their classes.

    Args:
        panel: to draw on.
        outcome: of the image.
        classes: names in the order of the labels.
        colors: of the boxes.
    """
    if colors.boxes_alone and panel.scale < 1:
        # A crowd of objects of a few shown pixels would vanish below thicker lines.
        panel.line = 1
    found = outcome.found
    fourth = colors.wrong_class is not None
    missed = ~outcome.hit & ~outcome.misnamed if fourth else ~outcome.hit
    for box in outcome.truth.boxes[missed]:
        if panel.shown_share(box):
            panel.box(box, colors.miss, dashed=not colors.boxes_alone)
    of_boxes = [
        colors.hit if right else colors.wrong_class if wrong and fourth else colors.false_alarm
        for right, wrong in zip(outcome.right, outcome.wrong_class, strict=True)
    ]
    visible = [k for k, box in enumerate(found.boxes) if panel.shown_share(box)]
    for k in visible:
        panel.box(found.boxes[k], of_boxes[k])
    if colors.boxes_alone:
        return
    mistakes = [
        k for k in visible if not outcome.right[k] and panel.shown_share(found.boxes[k]) > 0.5
    ]
    for best, *others in _piles(found, mistakes):
        more = f" +{len(others)}" if others else ""
        panel.label(found.boxes[best], of_boxes[best], classes[found.labels[best]] + more)


def _piles(found: Objects, which: Sequence[int]) -> list[list[int]]:
    """Detections in one place, highest score first: a label for each would hide the image."""
    piles: list[list[int]] = []
    boxes = torch.from_numpy(found.boxes)
    for k in sorted(which, key=lambda k: -found.scores[k]):
        tops = boxes[[pile[0] for pile in piles]]
        near = box_iou(boxes[k : k + 1], tops)[0] >= IOU if piles else torch.zeros(0)
        if near.any():
            piles[int(near.int().argmax())].append(k)
        else:
            piles.append([k])
    return piles
