"""Where detectors differ: pictures chosen by rule, hits and mistakes in colours (ThumbDet, Fig. 6).

A detection is a hit where it covers a free object of its class (IoU 0.5, best score first), a wrong
class where it covers an object but names another class, else a false alarm; an object without a hit
is a miss. Misses, wrong classes and false alarms are mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.analysis.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.detections import Objects, match, true_objects
from lowres_d2.analysis.drawing import Color, Panel
from lowres_d2.analysis.pictures import Column
from lowres_d2.analysis.sheets import (
    GAP,
    captions,
    headings,
    join,
    legend,
    panel_side,
    save_sheet,
    stack,
    text_block,
)

import numpy as np
import torch
from PIL import Image
from torchvision.ops import box_iou

IOU = 0.5
HIT: Color = (0, 205, 90)
WRONG_CLASS: Color = (255, 190, 0)
FALSE_ALARM: Color = (255, 45, 85)
MISS: Color = (255, 255, 255)
_LEGEND = [
    ("hit", HIT),
    ("miss", MISS),
    ("right place, wrong class: a miss too", WRONG_CLASS),
    ("false alarm", FALSE_ALARM),
]


@dataclass(frozen=True)
class Outcome:
    """How the detections of one picture meet its N objects.

    Attributes:
        truth: the objects.
        found: the detections (M).
        hit: which objects were found (N,).
        right: which detections are hits (M,).
        wrong_class: which detections cover an object of another class, and are no hits (M,).
        misnamed: which objects they cover (N,).
    """

    truth: Objects
    found: Objects
    hit: np.ndarray
    right: np.ndarray
    wrong_class: np.ndarray
    misnamed: np.ndarray

    @classmethod
    def of(cls, truth: Objects, found: Objects) -> Outcome:
        """Match detections with objects."""
        hit, right = match(truth, found, IOU)
        covers = box_iou(torch.from_numpy(found.boxes), torch.from_numpy(truth.boxes)).numpy()
        wrong = (covers >= IOU) & (found.labels[:, None] != truth.labels) & ~right[:, None]
        return cls(truth, found, hit, right, wrong.any(1), wrong.any(0))

    @property
    def misses(self) -> int:
        """Objects that were not found."""
        return int((~self.hit).sum())

    @property
    def mistakes(self) -> int:
        """Misses, and detections that are no hits."""
        return self.misses + int((~self.right).sum())

    def __str__(self) -> str:
        parts = [f"{self.hit.sum()} of {len(self.truth)} found"]
        wrong = int(self.wrong_class.sum())
        alarms = int((~self.right & ~self.wrong_class).sum())
        if wrong:
            parts.append(f"{wrong} wrong class{'es' * (wrong > 1)}")
        if alarms:
            parts.append(f"{alarms} false alarm{'s' * (alarms > 1)}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Group:
    """Pictures that show one thing.

    Attributes:
        title: what they show, and how many there are.
        chosen: their places in the data set, the clearest first.
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
    pictures: int = 2,
) -> Path:
    """Draw the pictures on which a method gains most over a baseline, and loses most.

    Args:
        path: PNG to write.
        dataset: Detectron2 dataset dicts.
        columns: detectors with what they found on all pictures, from the score on that counts; see
            :func:`lowres_d2.analysis.pictures.detected_column`.
        classes: names in the order of the labels.
        ours: title of the method's column.
        baseline: title of the column to compare it with.
        reference: title of the full-resolution column: pictures on which the method loses most to
            it are shown too; None leaves them out.
        pictures: how many of each kind.

    Returns:
        The path.

    Raises:
        KeyError: no column has such a title.
    """
    outcomes = {column.title: _outcomes(dataset, column) for column in columns}
    for title in (ours, baseline, reference):
        if title is not None and title not in outcomes:
            raise KeyError(f"no column {title!r}: there are {', '.join(outcomes)}")
    groups = choose_cases(outcomes, ours, baseline, reference, pictures)
    side = panel_side(len(columns))
    top = join(headings([column.title for column in columns], side), 2 * GAP, across=True)
    lines = [legend(_LEGEND, top.width, dashed=["miss"]), top]
    for group in groups:
        lines.append(text_block(group.title, top.width, 17))
        for k in group.chosen:
            rows = [outcomes[column.title][k] for column in columns]
            lines.append(_row(dataset[k], columns, rows, classes, side))
    return save_sheet(stack(lines), path)


def choose_cases(
    outcomes: Mapping[str, Sequence[Outcome]],
    ours: str,
    baseline: str,
    reference: str | None,
    pictures: int,
) -> list[Group]:
    """The rule: pictures with the largest difference in mistakes, both ways, ties in data order.

    Args:
        outcomes: name of each detector to the outcomes on all pictures.
        ours: name of the method.
        baseline: what it is compared with.
        reference: the full-resolution detector, if there is one.
        pictures: at most so many of each kind; each picture is shown once.
    """

    def mistakes(name: str) -> np.ndarray:
        return np.array([outcome.mistakes for outcome in outcomes[name]])

    gain = mistakes(baseline) - mistakes(ours)
    wishes = [
        (gain, f"{ours} makes fewer mistakes than {baseline}"),
        (-gain, f"{ours} makes more mistakes than {baseline}"),
    ]
    if reference is not None:
        lost = mistakes(ours) - mistakes(reference)
        wishes.append((lost, f"{ours} makes more mistakes than {reference}"))
    groups, shown = [], set()
    for score, title in wishes:
        order = [int(k) for k in np.argsort(-score, kind="stable") if score[k] > 0]
        chosen = [k for k in order if k not in shown][:pictures]
        shown.update(chosen)
        most = "; those with the largest difference:" if chosen else ""
        groups.append(Group(f"{title} on {len(order)} of {len(score)} pictures{most}", chosen))
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
    # Objects that some found and some did not are zoomed before those that all treat alike.
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
    return join(cells, 2 * GAP, across=True)


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
    for k in visible:
        if not outcome.right[k] and panel.shown_share(found.boxes[k]) > 0.5:
            panel.label(found.boxes[k], colors[k], classes[found.labels[k]])
