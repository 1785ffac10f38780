"""A sheet of the errors and warnings of a data set's validation: images with the boxes in question.

Boxes are XYWH in pixels of the stored image, as in the annotation file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from lowres_d2.analysis.figures.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.figures.detections import Objects
from lowres_d2.analysis.figures.drawing import Color, Panel
from lowres_d2.analysis.figures.sheets import (
    GAP,
    captions,
    panel_side,
    row,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.analysis.figures.views import Seen
from lowres_d2.data.datasets.json_values import is_finite
from lowres_d2.data.validation import Finding, Report, Split, Suspect

import numpy as np
from PIL import Image

_COLUMNS, _CELLS = 4, 24
_COLORS: dict[str, Color] = {"error": (230, 25, 75), "warning": (245, 130, 48)}
_OTHER: Color = (0, 150, 255)
_TEXT = 14
_NOTE = (
    "Red: errors, orange: warnings. Where a whole image is in question, blue shows all of its "
    "boxes. Grey: the image cannot be read."
)


def write_suspects(path: str | Path, report: Report) -> int:
    """Draw the first suspects of every error and warning, worst first.

    Args:
        path: PNG to write; nothing is written where there is nothing to draw.
        report: report of the validation.

    Returns:
        Number of suspects that were drawn.
    """
    chosen = list(_choose(report))[:_CELLS]
    if not chosen:
        return 0
    splits = {split.name: split for split in report.splits}
    side = panel_side(_COLUMNS)
    lines = [text_block(_NOTE, _COLUMNS * (side + 2 * GAP), 16)]
    for start in range(0, len(chosen), _COLUMNS):
        shown = chosen[start : start + _COLUMNS]
        titles = [f"{f.severity}: {f.split}: {f.check.name}\n{suspect}" for f, suspect in shown]
        cells = [
            _cell(finding, suspect, splits[finding.split], caption, side)
            for (finding, suspect), caption in zip(
                shown, captions(titles, side, _TEXT), strict=True
            )
        ]
        lines.append(row(cells))
    save_sheet(stack(lines), path)
    return len(chosen)


def _choose(report: Report) -> Iterator[tuple[Finding, Suspect]]:
    """The first suspect of each finding, then the second of each, and so on."""
    splits = {split.name for split in report.splits}
    columns = [
        [(finding, suspect) for suspect in finding.suspects if suspect.path]
        for finding in report.findings
        if finding.severity in _COLORS and finding.split in splits
    ]
    for turn in zip_longest(*columns):
        yield from (pair for pair in turn if pair is not None)


def _cell(
    finding: Finding, suspect: Suspect, split: Split, caption: Image.Image, side: int
) -> Image.Image:
    pixels = _read(suspect, split)
    height, width = pixels.shape[:2]
    seen = Seen(np.float32(pixels) / 255, 1.0)
    if suspect.box is not None:
        boxes, color = [suspect.box], _COLORS[finding.severity]
    else:
        entries = [e for e in split.boxed if e["image_id"] == suspect.image_id]
        boxes, color = [entry["bbox"] for entry in entries], _OTHER
    corners = [_corners(box) for box in boxes if _is_box(box)]
    objects = Objects.from_rows([(box, 0, 1.0) for box in corners])
    zooms = zoom_windows(objects, width, height)[: 1 if suspect.box is not None else 3]
    panels = open_panels(seen, {"height": height, "width": width}, zooms, side)
    for panel in panels:
        _draw(panel, corners, color)
    return close_cell(panels, caption, side)


def _is_box(box: object) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(is_finite, box))


def _corners(box: list[float]) -> tuple[float, ...]:
    """XYXY; a negative side is drawn to where it points."""
    x, y, width, height = box
    return (min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height))


def _draw(panel: Panel, corners: list[tuple], color: Color) -> None:
    for box in corners:
        if panel.shown_share(box):
            panel.box(box, color)


def _read(suspect: Suspect, split: Split) -> np.ndarray:
    """The image as training reads it; grey of the annotated size where that fails."""
    try:
        return split.reader.show(suspect.path)
    except Exception:  # that it cannot be read is what the caption says
        image = split.image_of.get(suspect.image_id, {"height": 256, "width": 256})
        return np.full((image["height"], image["width"], 3), 200, np.uint8)
