"""Where detectors differ: images chosen by rule, outcomes in colours (ThumbDet, Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.analysis.figures.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.figures.comparison_sheets import Column
from lowres_d2.analysis.figures.detections import true_objects
from lowres_d2.analysis.figures.outcomes import (
    FOUR_OUTCOMES,
    IOU,
    Outcome,
    OutcomeColors,
    draw_outcome,
    outcome_legend,
)
from lowres_d2.analysis.figures.sheets import (
    captions,
    heading_row,
    panel_side,
    row,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.fonts import drawable_names

import numpy as np
from PIL import Image

_NOTE = (
    f"Hit: IoU of at least {IOU} with an object of the class. Detections are shown at or above "
    "the score threshold of each detector's best F1."
)
_NAMED = " +1: one more wrong box in the same place."


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
    baseline: str | None = None,
    reference: str | None = None,
    images: int = 2,
    colors: OutcomeColors = FOUR_OUTCOMES,
) -> Path:
    """Draw the images on which a method gains most over a baseline, and loses most.

    Without a baseline they are those with most misses, with most false alarms, and with most
    objects among those without a mistake.

    Args:
        path: PNG to write.
        dataset: Detectron2 dataset dicts.
        columns: detectors with their detections of all images, see
            :func:`lowres_d2.analysis.figures.comparison_sheets.detected_column`.
        classes: names in the order of the labels.
        ours: title of the method's column.
        baseline: title of the column to compare it with, if there is one.
        reference: title of the full-resolution column: images on which the method loses most to
            it are shown too; None leaves them out.
        images: number of images of each kind.
        colors: of the boxes.

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
    if baseline is None:
        groups = choose_mistakes(outcomes[ours], ours, images)
    else:
        groups = choose_cases(outcomes, ours, baseline, reference, images)
    side = panel_side(len(columns))
    top = heading_row([column.title for column in columns], side)
    lines = [outcome_legend(colors, top.width), top]
    for group in groups:
        lines.append(text_block(group.title, top.width, 17))
        for k in group.chosen:
            rows = [outcomes[column.title][k] for column in columns]
            lines.append(_row(dataset[k], columns, rows, classes, side, colors))
    note = _NOTE if colors.boxes_alone else _NOTE + _NAMED
    lines.append(text_block(note, top.width, 16))
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
    return _groups(wishes, "the largest difference", images)


def choose_mistakes(outcomes: Sequence[Outcome], ours: str, images: int) -> list[Group]:
    """Images with most misses, with most false alarms, and of most objects without a mistake.

    Args:
        outcomes: of a detector on all images.
        ours: its name.
        images: number of images of each kind, at most; each image is shown once.
    """
    hits, misses, alarms = (
        np.array([count(outcome) for outcome in outcomes])
        for count in (lambda x: x.hit.sum(), lambda x: x.misses, lambda x: x.mistakes - x.misses)
    )
    wishes = [
        ((misses, alarms), f"{ours} misses objects"),
        ((alarms, misses), f"{ours} has false alarms or wrong classes"),
        ((np.where(misses + alarms, 0, hits), hits), f"{ours} finds all objects and nothing else"),
    ]
    return _groups(wishes, "most of them", images)


def _groups(
    wishes: Sequence[tuple[tuple[np.ndarray, np.ndarray], str]], extreme: str, images: int
) -> list[Group]:
    """Images with the highest first numbers above 0, ties by the second ones, each image once."""
    groups, shown = [], set()
    for (numbers, ties), title in wishes:
        # lexsort sorts by its last key first.
        order = [int(k) for k in np.lexsort((-ties, -numbers)) if numbers[k] > 0]
        chosen = [k for k in order if k not in shown][:images]
        shown.update(chosen)
        most = f"; those with {extreme}:" if chosen else ""
        groups.append(Group(f"{title} on {len(order)} of {len(numbers)} images{most}", chosen))
    return groups


def _outcomes(dataset: Sequence[Mapping], column: Column) -> list[Outcome]:
    return [Outcome.of(true_objects(entry), column.found_in(entry)) for entry in dataset]


def _row(
    entry: Mapping,
    columns: Sequence[Column],
    outcomes: Sequence[Outcome],
    classes: Sequence[str],
    side: int,
    colors: OutcomeColors,
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
            draw_outcome(panel, outcome, classes, colors)
        cells.append(close_cell(panels, caption, side))
    return row(cells)
