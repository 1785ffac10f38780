"""Where detectors differ: images chosen by rule, outcomes in colours (ThumbDet, Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.analysis.figures.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.figures.comparison_sheets import Column
from lowres_d2.analysis.figures.detections import Objects, true_objects
from lowres_d2.analysis.figures.drawing import Color, Panel
from lowres_d2.analysis.figures.outcomes import IOU, Outcome
from lowres_d2.analysis.figures.sheets import (
    captions,
    heading_row,
    legend,
    panel_side,
    row,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.fonts import drawable_names

import numpy as np
import torch
from PIL import Image
from torchvision.ops import box_iou

HIT: Color = (0, 205, 90)
WRONG_CLASS: Color = (255, 190, 0)
FALSE_ALARM: Color = (255, 45, 85)
MISS: Color = (255, 255, 255)
_LEGEND = [
    ("hit", HIT),
    ("miss", MISS),
    ("right place, wrong class (also a miss)", WRONG_CLASS),
    ("false alarm", FALSE_ALARM),
]
_NOTE = (
    f"Hit: IoU of at least {IOU} with an object of the class. Detections are shown at or above "
    "the score threshold of each detector's best F1. +1: one more wrong box in the same place."
)


@dataclass(frozen=True)
class Group:
    """Images that show the same kind of difference.

    Attributes:
        title: what they show, and how many there are.
        chosen: their indices in the data set, largest difference first.
    """

    title: str
    chosen: Sequence[int]


def write_failure_cases(
    path: str | Path,
    dataset: Sequence[Mapping],
    columns: Sequence[Column],
    classes: Sequence[str],
    ours: str,
    baseline: str,
    reference: str | None = None,
    images: int = 2,
) -> Path:
    """Draw the images on which a method gains most over a baseline, and loses most.

    Args:
        path: PNG to write.
        dataset: Detectron2 dataset dicts.
        columns: detectors with their detections of all images, see
            :func:`lowres_d2.analysis.figures.comparison_sheets.detected_column`.
        classes: names in the order of the labels.
        ours: title of the method's column.
        baseline: title of the column to compare it with.
        reference: title of the full-resolution column: images on which the method loses most to
            it are shown too; None leaves them out.
        images: number of images of each kind.

    Returns:
        The path.

    Raises:
        KeyError: no column has such a title.
    """
    outcomes = {column.title: _outcomes(dataset, column) for column in columns}
    for title in (ours, baseline, reference):
        if title is not None and title not in outcomes:
            raise KeyError(f"no column {title!r}: there are {', '.join(outcomes)}")
    classes = drawable_names(classes)
    groups = choose_cases(outcomes, ours, baseline, reference, images)
    side = panel_side(len(columns))
    top = heading_row([column.title for column in columns], side)
    lines = [legend(_LEGEND, top.width, dashed=["miss"]), top]
    for group in groups:
        lines.append(text_block(group.title, top.width, 17))
        for k in group.chosen:
            rows = [outcomes[column.title][k] for column in columns]
            lines.append(_row(dataset[k], columns, rows, classes, side))
    lines.append(text_block(_NOTE, top.width, 16))
    return save_sheet(stack(lines), path)


def choose_cases(
    outcomes: Mapping[str, Sequence[Outcome]],
    ours: str,
    baseline: str,
    reference: str | None,
    images: int,
) -> list[Group]:
    """Images with the largest difference in hits; ties by mistakes, then in the data set's order.

    Args:
        outcomes: name of each detector to the outcomes on all images.
        ours: name of the method.
        baseline: what it is compared with.
        reference: the full-resolution detector, if there is one.
        images: number of images of each kind, at most; each image is shown once.
    """

    def difference(name: str, other: str) -> tuple[np.ndarray, np.ndarray]:
        """How many more hits, and fewer mistakes, ``name`` has than ``other`` on each image."""
        pairs = list(zip(outcomes[name], outcomes[other], strict=True))
        hits = [int(one.hit.sum()) - int(two.hit.sum()) for one, two in pairs]
        return np.array(hits), np.array([two.mistakes - one.mistakes for one, two in pairs])

    wishes = [
        (difference(ours, baseline), f"{ours} finds more objects than {baseline}"),
        (difference(baseline, ours), f"{ours} finds fewer objects than {baseline}"),
    ]
    if reference is not None:
        title = f"{ours} finds fewer objects than {reference}"
        wishes.append((difference(reference, ours), title))
    groups, shown = [], set()
    for (hits, mistakes), title in wishes:
        # lexsort sorts by its last key first: hits, then mistakes.
        order = [int(k) for k in np.lexsort((-mistakes, -hits)) if hits[k] > 0]
        chosen = [k for k in order if k not in shown][:images]
        shown.update(chosen)
        most = "; those with the largest difference:" if chosen else ""
        groups.append(Group(f"{title} on {len(order)} of {len(hits)} images{most}", chosen))
    return groups


def _outcomes(dataset: Sequence[Mapping], column: Column) -> list[Outcome]:
    return [Outcome.of(true_objects(entry), column.found_in(entry)) for entry in dataset]


def _row(
    entry: Mapping,
    columns: Sequence[Column],
    outcomes: Sequence[Outcome],
    classes: Sequence[str],
    side: int,
) -> Image.Image:
    hits = np.array([outcome.hit for outcome in outcomes])
    # Objects that only some detectors found are zoomed first.
    differs = hits.any(0) & ~hits.all(0)
    zooms = zoom_windows(outcomes[0].truth, entry["width"], entry["height"], first=differs)
    seen = [column.view(entry) for column in columns]
    texts = [
        f"{view.values.shape[1]} x {view.values.shape[0]}: {outcome}"
        for view, outcome in zip(seen, outcomes, strict=True)
    ]
    cells = []
    for view, outcome, caption in zip(seen, outcomes, captions(texts, side, 15), strict=True):
        panels = open_panels(view, entry, zooms, side, text=14)
        for panel in panels:
            _draw(panel, outcome, classes)
        cells.append(close_cell(panels, caption, side))
    return row(cells)


def _draw(panel: Panel, outcome: Outcome, classes: Sequence[str]) -> None:
    found = outcome.found
    for box in outcome.truth.boxes[~outcome.hit & ~outcome.misnamed]:
        if panel.shown_share(box):
            panel.box(box, MISS, dashed=True)
    colors = [
        HIT if right else WRONG_CLASS if wrong else FALSE_ALARM
        for right, wrong in zip(outcome.right, outcome.wrong_class, strict=True)
    ]
    visible = [k for k, box in enumerate(found.boxes) if panel.shown_share(box)]
    for k in visible:
        panel.box(found.boxes[k], colors[k])
    mistakes = [
        k for k in visible if not outcome.right[k] and panel.shown_share(found.boxes[k]) > 0.5
    ]
    for best, *others in _piles(found, mistakes):
        more = f" +{len(others)}" if others else ""
        panel.label(found.boxes[best], colors[best], classes[found.labels[best]] + more)


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
