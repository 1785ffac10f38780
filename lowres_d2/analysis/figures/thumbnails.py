"""Outputs of resamplers for an image, enlarged beside what they downsample (ThumbDet, Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.analysis.figures.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.figures.detections import true_objects
from lowres_d2.analysis.figures.drawing import INK, PAPER, Window
from lowres_d2.analysis.figures.sheets import (
    heading_row,
    join,
    panel_side,
    row,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.analysis.figures.views import Seen, View, stored_view
from lowres_d2.fonts import font_for

import numpy as np
from PIL import Image, ImageDraw

_NOTE = (
    "Each pixel of a thumbnail is one square. Mean and standard deviation (std) are what moment "
    "matching compares with those of the image that is downsampled, the recipe's test images after "
    "its augmentations; values outside [0, 1] are clipped for display only."
)
_TEXT, _STEP = 14, 20


def write_thumbnails(
    path: str | Path,
    entries: Sequence[Mapping],
    views: Mapping[str, View],
    original: View = stored_view,
) -> Path:
    """Draw each image before and after the resampler of each variant, with channel moments.

    Args:
        path: PNG to write.
        entries: Detectron2 dataset dicts; their tiniest objects are shown zoomed.
        views: name of each variant to its :func:`model_view`. The name should say where its
            resampler is untrained.
        original: the image before the resamplers, :func:`input_view` of the recipe's mapper; by
            default the stored image, which mappers without augmentations leave as it is.

    Returns:
        The path.
    """
    columns = {"original": original, **views}
    side = panel_side(len(columns))
    lines = [heading_row(list(columns), side)]
    for entry in entries:
        zooms = zoom_windows(true_objects(entry), entry["width"], entry["height"])
        cells = [
            _cell(entry, view(entry), zooms, side, view is original) for view in columns.values()
        ]
        lines.append(row(cells))
    lines.append(text_block(_NOTE, lines[0].width, 16))
    return save_sheet(stack(lines), path)


def _cell(
    entry: Mapping, seen: Seen, zooms: Sequence[Window], side: int, is_original: bool
) -> Image.Image:
    caption = [
        text_block(_size(seen, entry if is_original else None), side, _TEXT),
        _moments(seen, side),
    ]
    panels = open_panels(seen, entry, zooms, side)
    return close_cell(panels, join(caption, 0, across=False), side)


def _size(seen: Seen, entry: Mapping | None) -> str:
    """Its size; of an original that was resized, the stored one too."""
    height, width = seen.values.shape[:2]
    text = seen.size
    if entry is None or (height, width) == (entry["height"], entry["width"]):
        return text
    return f"{text}, stored as {entry['width']} x {entry['height']}"


def _moments(seen: Seen, width: int) -> Image.Image:
    """A small table: mean, standard deviation and share outside [0, 1] of each channel."""
    rows = [("mean", ".2f", seen.values.mean((0, 1))), ("std", ".2f", seen.values.std((0, 1)))]
    rows.append(("outside, %", ".1f", 100 * seen.share_outside()))
    image = Image.new("RGB", (width, _STEP * (len(rows) + 1) + 2), PAPER)
    draw, letters = ImageDraw.Draw(image), font_for("", _TEXT)
    columns = np.linspace(0.55, 0.95, 3) * min(width, 300)
    for x, name in zip(columns, ("red", "green", "blue"), strict=True):
        draw.text((x, 0), name, INK, letters, anchor="ra")
    for k, (name, form, values) in enumerate(rows, start=1):
        draw.text((0, k * _STEP), name, INK, letters)
        for x, value in zip(columns, values, strict=True):
            draw.text((x, k * _STEP), format(value, form), INK, letters, anchor="ra")
    return image
