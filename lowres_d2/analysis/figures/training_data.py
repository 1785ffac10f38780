"""Training images as a detector gets them: stored, augmented, and downsampled, with their boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.cells import close_cell, open_panels, zoom_windows
from lowres_d2.analysis.figures.comparison_sheets import MISSED, draw_objects
from lowres_d2.analysis.figures.detections import Objects, true_objects
from lowres_d2.analysis.figures.drawing import Color, Window, class_colors
from lowres_d2.analysis.figures.sheets import (
    heading_row,
    legend,
    panel_side,
    row,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.analysis.figures.views import Seen, changes_images, degradation_of, shown_channels
from lowres_d2.data import DetectionMapper
from lowres_d2.data.corners import cut_corner
from lowres_d2.data.image import reader_of
from lowres_d2.fonts import drawable_names
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch.detector_inputs import detector_input, drop_small_objects
from lowres_d2.modeling.tiles import untiled

import numpy as np
import torch
from PIL import Image
from torch import nn

_NOTE = (
    "Left the stored image with its ground truth, then what the detector is trained on: boxes that "
    "augmentation or downsampling left too small are gone."
)
_CROWD = "crowd"
_MADE_OF_CROWDS = {
    "background": "which is background in training",
    "blank": "which has the image's mean colour in training",
    "region_mean": "which has its own mean colour in training",
    "ignore": "in which training takes nothing for background",
}


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
    titles = ["stored", "augmented", *resampled_title(model)]
    colors, names, side = class_colors(len(classes)), drawable_names(classes), panel_side(3)
    lines, any_crowd = [heading_row(titles, side)], False
    for entry in entries:
        sample = mapper(dict(entry))
        if sample is None:  # an image that the mapper skips
            continue
        full, *low = detector_inputs(model, sample)
        cells = [_stored(entry, mapper), _input(full, mapper)]
        any_crowd |= len(cells[0].crowds) > 0
        # The same places of the downsampled image are zoomed.
        for x in low:
            zooms, degradation = cells[1].scaled_zooms(x), degradation_of(untiled(model))
            cells.append(replace(_input(x, mapper), zooms=zooms, degradation=degradation))
        cells = [cell.draw(colors, names, side) for cell in cells]
        lines.append(row(cells))
    labels = [*zip(names, colors, strict=True), *[(_CROWD, MISSED)] * any_crowd]
    lines.append(legend(labels, lines[0].width, dashed=[_CROWD] * any_crowd))
    note = f"{_NOTE} {crowds_note(mapper)}" if any_crowd else _NOTE
    lines.append(text_block(note, lines[0].width, 16))
    return save_sheet(stack(lines), path)


def crowds_note(mapper: DetectionMapper) -> str:
    """What the dashed boxes are, and what the training makes of them."""
    return f"A dashed white box is a crowd, {_MADE_OF_CROWDS[mapper.crowds]}."


def resampled_title(model: nn.Module) -> list[str]:
    """Heading of what the resampler makes of an image; none where it leaves the image as it is."""
    model = untiled(model)
    if not isinstance(model, LowResDetector) or not changes_images(model):
        return []
    return ["downsampled" if model.resampler.factor != 1 else "resampled"]


@torch.no_grad()
def detector_inputs(model: nn.Module, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """An image of the mapper and, where a resampler changes it, the same as the detector gets it.

    Args:
        model: a composition or a plain detector.
        sample: the mapper's output, with ``instances``.
    """
    if not resampled_title(model):
        return [sample]
    model = untiled(model)
    full = sample["image"].to(model.device).float() / 255
    low, factor = model.resampler([full])[0], model.resampler.factor
    size = tuple(full.shape[-2:])
    low_res = detector_input(sample, (low * 255).cpu(), size, factor)
    # As in training: objects that are too small after downsampling are dropped in both frames.
    return list(drop_small_objects(sample, low_res, model.min_box_size)[:2])


@dataclass(frozen=True)
class _Cell:
    """An image with its objects and crowds, in its own pixels."""

    values: np.ndarray
    objects: Objects
    zooms: Sequence[Window]
    crowds: Sequence[Sequence[float]] = ()
    degradation: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        return self.values.shape[:2]

    def scaled_zooms(self, low: Mapping[str, Any]) -> list[Window]:
        height, width = (a / b for a, b in zip(low["image"].shape[-2:], self.size, strict=True))
        return [(a * width, b * height, c * width, d * height) for a, b, c, d in self.zooms]

    def draw(self, colors: Sequence[Color], names: Sequence[str], side: int) -> Image.Image:
        height, width = self.size
        frame = {"height": height, "width": width}
        seen = Seen(self.values, 1.0, 1.0, self.degradation)
        panels = open_panels(seen, frame, self.zooms, side)
        for panel in panels:
            for box in self.crowds:
                if panel.shown_share(box):
                    panel.box(box, MISSED, dashed=True)
            draw_objects(panel, self.objects, colors, names)
        number = f"{len(self.objects)} object{'s' * (len(self.objects) != 1)}"
        caption = text_block(f"{seen.size}, {number}", side, 14)
        return close_cell(panels, caption, side)


def _stored(entry: Mapping, mapper: DetectionMapper) -> _Cell:
    image = cut_corner(reader_of(mapper).show(entry["file_name"]), entry)
    values = np.float32(image) / 255
    crowds = [{**a, "iscrowd": 0} for a in entry["annotations"] if a.get("iscrowd", 0)]
    objects, (height, width) = true_objects(entry), values.shape[:2]
    zooms = zoom_windows(objects, width, height)
    return _Cell(values, objects, zooms, true_objects({"annotations": crowds}).boxes)


def _input(sample: Mapping[str, Any], mapper: DetectionMapper) -> _Cell:
    values = shown_channels(sample["image"] / 255, mapper.image_format)
    truth, (height, width) = sample["instances"], values.shape[:2]
    boxes, labels = truth.gt_boxes.tensor.double().cpu().numpy(), truth.gt_classes.cpu().numpy()
    objects = Objects(boxes, labels, np.ones(len(labels)))
    return _Cell(values, objects, zoom_windows(objects, width, height))
