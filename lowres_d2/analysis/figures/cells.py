"""One cell of a sheet: an image as a network receives it, and its tiniest objects zoomed below.

Windows are (x0, y0, x1, y1) in pixels of the stored image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowres_d2.analysis.figures.detections import Objects
from lowres_d2.analysis.figures.drawing import PAPER, Panel, Window, look
from lowres_d2.analysis.figures.sheets import GAP, join
from lowres_d2.analysis.figures.views import Seen

import numpy as np
from PIL import Image

INSETS = 3  # zoomed objects below an image


def zoom_windows(
    truth: Objects, width: int, height: int, first: np.ndarray | None = None
) -> list[Window]:
    """Square windows on the tiniest objects, smallest first; none for objects in an earlier one.

    Args:
        truth: the objects (N).
        width: width of the image.
        height: height of the image.
        first: which objects (N,) come before the others, whatever their size.
    """
    windows: list[Window] = []
    centres: list[tuple[float, float, float]] = []
    sizes = truth.sizes()
    late = np.zeros(len(truth), bool) if first is None else ~first
    # lexsort sorts by its last key first.
    for k in np.lexsort((sizes, late)):
        side = max(4 * sizes[k], 32.0)
        if side > min(width, height) / 2:  # hardly a zoom
            continue
        x, y = (truth.boxes[k, :2] + truth.boxes[k, 2:]) / 2
        if any(max(abs(x - cx), abs(y - cy)) < other / 2 for cx, cy, other in centres):
            continue
        x0 = min(max(x - side / 2, 0.0), width - side)
        y0 = min(max(y - side / 2, 0.0), height - side)
        windows.append((x0, y0, x0 + side, y0 + side))
        centres.append((x, y, side))
        if len(windows) == INSETS:
            break
    return windows


def open_panels(
    seen: Seen, entry: Mapping, zooms: Sequence[Window], side: int, text: int = 13
) -> list[Panel]:
    """The whole image and its zooms, to draw on.

    Args:
        seen: the pixels to show.
        entry: the dataset dict, for the size of the image.
        zooms: windows shown below.
        side: longest side of the image, in pixels of the sheet.
        text: font size.
    """
    height, width = entry["height"], entry["width"]
    scale = side / max(height, width)
    inset = (side - (INSETS - 1) * GAP) // INSETS
    views = [
        ((0.0, 0.0, float(width), float(height)), (round(height * scale), round(width * scale)))
    ]
    views += [(window, (inset, inset)) for window in zooms]
    pixels = seen.pixels
    return [
        Panel(look(pixels, seen.factor, window, size, seen.stretch), window, text=text)
        for window, size in views
    ]


def close_cell(panels: Sequence[Panel], caption: Image.Image, side: int) -> Image.Image:
    """Image, caption and zooms one below the other, as wide as all cells."""
    parts = [panels[0].image, caption]
    if len(panels) > 1:
        parts.append(join([panel.image for panel in panels[1:]], GAP, across=True))
    cell = join(parts, GAP // 2, across=False)
    wide = Image.new("RGB", (side, cell.height), PAPER)
    wide.paste(cell, (0, 0))
    return wide
