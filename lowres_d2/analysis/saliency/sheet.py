"""What detectors find, and which part of their features it depends on (DFR-Det, ICML 2024, Fig. 2).

Ground truth, then two columns for each detector: outcomes of its detections and its saliency map.
Maps are dark where the gradient is large, each on a scale of its own. Captions name the feature
map, the share of its gradient that lies inside of objects, and their share of the image, which a
map without any preference would have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.analysis.figures.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.figures.comparison_sheets import Column
from lowres_d2.analysis.figures.detections import Objects, true_objects
from lowres_d2.analysis.figures.drawing import Window
from lowres_d2.analysis.figures.outcomes import (
    IOU,
    THREE_OUTCOMES,
    Outcome,
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
from lowres_d2.analysis.figures.views import Seen, View, stored_view
from lowres_d2.analysis.saliency.gradient import HIGHEST, Saliency, SaliencyMap
from lowres_d2.modeling.objectives.foreground.mask import object_mask

import numpy as np
import torch
from PIL import Image

DARKEST = 99  # percentile of a map's cells that is black, as everything above
_NOTE = (
    f"Hit: IoU of at least {IOU} with an object of the class. Detections are shown at or above the "
    "score threshold of each detector's best F1. Saliency: norm over channels of the gradient of "
    f"the sum of the {HIGHEST} highest scores in a feature map; darker is larger, and each map is "
    f"black from its {DARKEST}th percentile on."
)


def write_saliency(
    path: str | Path,
    entries: Sequence[Mapping],
    columns: Sequence[Column],
    maps: Mapping[str, Saliency],
    original: View = stored_view,
) -> Path:
    """Draw detections and saliency maps of several detectors, a row for each image.

    Args:
        path: PNG to write.
        entries: Detectron2 dataset dicts; their tiniest objects are shown zoomed.
        columns: detectors with their detections of these images, see
            :func:`lowres_d2.analysis.figures.comparison_sheets.detected_column`.
        maps: title of each column to the saliency maps of its model.
        original: the image below the ground truth.

    Returns:
        The path.
    """
    side = panel_side(1 + 2 * len(columns))
    titles = [title for column in columns for title in (column.title, "its saliency")]
    top = heading_row(["ground truth", *titles], side)
    rows = [_row(entry, columns, maps, original, side) for entry in entries]
    note = text_block(_NOTE, top.width, 16)
    return save_sheet(stack([outcome_legend(THREE_OUTCOMES, top.width), top, *rows, note]), path)


def share_in_objects(saliency: SaliencyMap, truth: Objects, entry: Mapping) -> tuple[float, float]:
    """Share of a map that lies inside of objects, and their share of the image; 0 to 1.

    Args:
        saliency: of the image.
        truth: its objects.
        entry: its dataset dict, for its size.
    """
    height, width = entry["height"], entry["width"]
    inside = object_mask(torch.from_numpy(truth.boxes), (height, width)).numpy()
    values = saliency.at_pixels(height, width)
    total = float(values.sum(dtype=float))
    return float(values[inside].sum(dtype=float)) / total if total else 0.0, float(inside.mean())


def _row(
    entry: Mapping,
    columns: Sequence[Column],
    maps: Mapping[str, Saliency],
    original: View,
    side: int,
) -> Image.Image:
    truth = true_objects(entry)
    zooms = zoom_windows(truth, entry["width"], entry["height"])
    # All of its objects are found by the ground truth.
    cells: list[tuple[Seen, Outcome | None]] = [(original(entry), Outcome.of(truth, truth))]
    texts = [f"{entry['width']} x {entry['height']}: {len(truth)} object{'s' * (len(truth) != 1)}"]
    for column in columns:
        seen, outcome = column.view(entry), Outcome.of(truth, column.found_in(entry))
        saliency = maps[column.title](entry)
        cells += [(seen, outcome), (_shown(saliency), None)]
        height, width = seen.values.shape[:2]
        texts += [f"{width} x {height}: {outcome}", _caption(saliency, truth, entry)]
    return row(
        [
            _cell(entry, seen, outcome, zooms, side, caption)
            for (seen, outcome), caption in zip(cells, captions(texts, side, 14), strict=True)
        ]
    )


def _cell(
    entry: Mapping,
    seen: Seen,
    outcome: Outcome | None,
    zooms: Sequence[Window],
    side: int,
    caption: Image.Image,
) -> Image.Image:
    panels = open_panels(seen, entry, zooms, side)
    for panel in panels:
        if outcome is not None:
            draw_outcome(panel, outcome, (), THREE_OUTCOMES)
    return close_cell(panels, caption, side)


def _caption(saliency: SaliencyMap, truth: Objects, entry: Mapping) -> str:
    if not saliency.values.any():
        return f"{saliency.level}: no gradient, nothing is found with it"
    share, area = share_in_objects(saliency, truth, entry)
    return f"{saliency.level}: {share:.0%} in objects, which are {area:.1%} of the image"


def _shown(saliency: SaliencyMap) -> Seen:
    """A map in shades of grey."""
    values = saliency.values
    # Of a map in which few cells have a gradient, the percentile is 0.
    black = np.percentile(values, DARKEST) or values.max() or 1.0
    grey = 1 - (values / black).clip(0, 1)
    return Seen(
        np.repeat(grey[..., None], 3, axis=2).astype(np.float32), saliency.factor, saliency.stretch
    )
