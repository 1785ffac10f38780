"""Training images as a detector gets them: stored, augmented, and downsampled, with their boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.figures.comparison_sheets import MISSED, draw_objects
from lowres_d2.analysis.figures.detections import Objects, true_objects
from lowres_d2.analysis.figures.drawing import class_colors
from lowres_d2.analysis.figures.sheets import (
    GAP,
    headings,
    join,
    legend,
    panel_side,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.analysis.figures.views import Seen, shown_channels
from lowres_d2.data import DetectionMapper
from lowres_d2.data.image import reader_of
from lowres_d2.fonts import drawable_names
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch.detector_inputs import detector_input, drop_small_objects

import numpy as np
import torch
from PIL import Image
from torch import nn

_NOTE = (
    "Left the stored image with its ground truth, then what the detector is trained on: boxes that "
    "augmentation or downsampling left too small are gone. A dashed white box is a crowd, which "
    "trains nothing."
)
_CROWD = "crowd"


def write_training_data(
    path: str | Path,
    entries: Sequence[Mapping],
    mapper: DetectionMapper,
    model: nn.Module,
    classes: Sequence[str],
) -> Path:
    """Draw training images before and after the mapper, and after the resampler where one is.

    Args:
        path: PNG to write.
        entries: Detectron2 dataset dicts of the training set.
        mapper: the recipe's training mapper. What it draws by chance comes from the global random
            states.
        model: a composition, or a plain detector, which has no thumbnails.
        classes: names in the order of the labels.

    Returns:
        The path.
    """
    has_thumbnails = isinstance(model, LowResDetector) and model.resampler.factor != 1
    titles = ["stored", "augmented"] + ["downsampled"] * has_thumbnails
    colors, names, side = class_colors(len(classes)), drawable_names(classes), panel_side(3)
    lines = [join(headings(titles, side), 2 * GAP, across=True)]
    for entry in entries:
        sample = mapper(dict(entry))
        if sample is None:  # an image that the mapper skips
            continue
        shown = [_stored(entry, mapper)]
        shown += [
            (shown_channels(x["image"] / 255, mapper.image_format), _objects(x), [])
            for x in detector_inputs(model, sample)
        ]
        cells = [_cell(*each, colors, names, side) for each in shown]
        lines.append(join(cells, 2 * GAP, across=True))
    entries = [*zip(names, colors, strict=True), (_CROWD, MISSED)]
    lines.append(legend(entries, lines[0].width, dashed=[_CROWD]))
    lines.append(text_block(_NOTE, lines[0].width, 16))
    return save_sheet(stack(lines), path)


@torch.no_grad()
def detector_inputs(model: nn.Module, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """An image of the mapper and, where a resampler changes it, the same as the detector gets it.

    Args:
        model: a composition or a plain detector.
        sample: the mapper's output, with ``instances``.
    """
    if not isinstance(model, LowResDetector) or model.resampler.factor == 1:
        return [sample]
    full = sample["image"].to(model.device).float() / 255
    low, factor = model.resampler([full])[0], model.resampler.factor
    size = tuple(full.shape[-2:])
    low_res = detector_input(sample, (low * 255).cpu(), size, factor)
    # As in training: objects that are too small after downsampling are dropped in both frames.
    return list(drop_small_objects(sample, low_res, model.min_box_size)[:2])


def _stored(entry: Mapping, mapper: DetectionMapper) -> tuple[np.ndarray, Objects, np.ndarray]:
    pixels = reader_of(mapper).show(entry["file_name"])
    crowds = [{**a, "iscrowd": 0} for a in entry["annotations"] if a.get("iscrowd", 0)]
    crowds = true_objects({"annotations": crowds}).boxes
    return np.float32(pixels) / 255, true_objects(entry), crowds


def _objects(sample: Mapping[str, Any]) -> Objects:
    truth = sample["instances"]
    boxes, labels = truth.gt_boxes.tensor.double().cpu().numpy(), truth.gt_classes.cpu().numpy()
    return Objects(boxes, labels, np.ones(len(labels)))


def _cell(
    values: np.ndarray,
    objects: Objects,
    crowds: Sequence[Sequence[float]],
    colors: Sequence[tuple[int, int, int]],
    names: Sequence[str],
    side: int,
) -> Image.Image:
    height, width = values.shape[:2]
    zooms = zoom_windows(objects, width, height)
    panels = open_panels(Seen(values, 1.0), {"height": height, "width": width}, zooms, side)
    for panel in panels:
        for box in crowds:
            if panel.shown_share(box):
                panel.box(box, MISSED, dashed=True)
        draw_objects(panel, objects, colors, names)
    number = f"{len(objects)} object{'s' * (len(objects) != 1)}"
    return close_cell(panels, text_block(f"{width} x {height} pixels, {number}", side, 14), side)
