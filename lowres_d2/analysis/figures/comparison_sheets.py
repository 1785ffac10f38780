"""Comparison sheets: ground truth beside the input and detections of each run, tiny objects zoomed.

Each column shows the pixels that its detector received, so a run on 64x64 pixels shows 64x64 big
squares. A dashed white box is an object that the run missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.analysis.figures.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.figures.detections import (
    Objects,
    best_threshold,
    match,
    read_detections,
    true_objects,
)
from lowres_d2.analysis.figures.drawing import Color, Panel, class_colors
from lowres_d2.analysis.figures.sheets import (
    heading_row,
    legend,
    panel_side,
    row,
    stack,
    text_block,
)
from lowres_d2.analysis.figures.views import View, stored_view
from lowres_d2.data.datasets import BoxDataset
from lowres_d2.data.datasets.sample import even_indices
from lowres_d2.fonts import drawable_names

import numpy as np
from PIL import Image

MISSED: Color = (255, 255, 255)
NAMED_FROM = 384  # smaller panels show classes by colour alone: names would hide the image


@dataclass(frozen=True)
class Column:
    """One column of a sheet.

    Attributes:
        title: its heading.
        found: detections to draw, by image id; None draws the ground truth.
        view: what the network received of an image.
    """

    title: str
    found: Mapping[object, Objects] | None = None
    view: View = stored_view

    def found_in(self, entry: Mapping) -> Objects:
        """The detections of one image."""
        return (self.found or {}).get(entry["image_id"], Objects.from_rows([]))


def detected_column(
    title: str, predictions_file: str | Path, dataset: BoxDataset, view: View = stored_view
) -> tuple[Column, float]:
    """A column of an evaluation's detections at or above the score threshold of best F1.

    Args:
        title: heading of the column.
        predictions_file: ``coco_instances_results.json``.
        dataset: evaluated data set; its ground truth determines the threshold.
        view: what the network received of an image.

    Returns:
        The column, and the threshold.
    """
    found = read_detections(predictions_file, dataset.category_ids)
    nothing = Objects.from_rows([])
    limit = best_threshold((true_objects(e), found.get(e["image_id"], nothing)) for e in dataset)
    shown = {image_id: objects[objects.scores >= limit] for image_id, objects in found.items()}
    return Column(title, shown, view), limit


def choose_images(dataset: Sequence[Mapping], number: int) -> list[Mapping]:
    """Images with tiny objects, spread evenly over the data set, independent of any detections.

    Of a data set without boxes, any images.

    Args:
        dataset: Detectron2 dataset dicts.
        number: number of images, at most.
    """
    if len(dataset) and "annotations" not in dataset[0]:
        return [dataset[k] for k in even_indices(len(dataset), number)]
    with_objects = [entry for entry in dataset if len(true_objects(entry))]
    smallest = [true_objects(entry).sizes().min() for entry in with_objects]
    # Of the half with the smaller objects, in the order of the data set.
    limit = np.median(smallest) if smallest else 0
    tiny = [e for e, size in zip(with_objects, smallest, strict=True) if size <= limit]
    step = max(len(tiny) / number, 1) if number else 1
    return [tiny[int(k * step)] for k in range(min(number, len(tiny)))]


def comparison_sheet(
    entries: Sequence[Mapping], columns: Sequence[Column], classes: Sequence[str]
) -> Image.Image:
    """One row per image, one column per run; below each image its tiniest objects, zoomed.

    Args:
        entries: Detectron2 dataset dicts.
        columns: usually ground truth first.
        classes: names in the order of the labels.
    """
    colors, side = class_colors(len(classes)), panel_side(len(columns))
    classes = drawable_names(classes)
    lines = [heading_row([column.title for column in columns], side)]
    for entry in entries:
        cells = [_cell(entry, column, classes, colors, side) for column in columns]
        lines.append(row(cells))
    names = [*zip(classes, colors, strict=True), ("missed", MISSED)]
    lines.append(legend(names, lines[0].width, dashed=["missed"]))
    return stack(lines)


def _cell(
    entry: Mapping, column: Column, classes: Sequence[str], colors: Sequence[Color], side: int
) -> Image.Image:
    truth, seen = true_objects(entry), column.view(entry)
    zooms = zoom_windows(truth, entry["width"], entry["height"])
    panels = open_panels(seen, entry, zooms, side)
    names = classes if column.found is None or side >= NAMED_FROM else None
    for panel in panels:
        if column.found is None:
            draw_objects(panel, truth, colors, names)
        else:
            found = column.found_in(entry)
            for box in truth[~match(truth, found)[0]].boxes:
                if panel.shown_share(box):
                    panel.box(box, MISSED, dashed=True)
            draw_objects(panel, found, colors, names, scores=True)
    return close_cell(panels, text_block(seen.size, side, 14), side)


def draw_objects(
    panel: Panel,
    objects: Objects,
    colors: Sequence[Color],
    names: Sequence[str] | None,
    scores: bool = False,
) -> None:
    """Draw boxes in their class's colour, with class and score where there are names."""
    shares = np.array([panel.shown_share(box) for box in objects.boxes])
    for box, label in zip(objects.boxes[shares > 0], objects.labels[shares > 0], strict=True):
        panel.box(box, colors[label])
    if names is None:
        return
    named = objects[shares > 0.5]  # a box that is cut off is named where it is whole
    for box, label, score in zip(named.boxes, named.labels, named.scores, strict=True):
        panel.label(box, colors[label], f"{names[label]} {score:.2f}" if scores else names[label])
