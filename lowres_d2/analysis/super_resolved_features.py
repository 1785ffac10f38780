"""Features that super-resolution starts from, reaches and follows ("Better to Follow", Fig. 6).

A row is an object: its pixels, its pixels in the reduced picture, and means over channels of its
pooled features, (P, P) each. Boxes are XYXY in pixels of the original picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.analysis.detections import true_objects
from lowres_d2.analysis.drawing import look
from lowres_d2.analysis.sheets import (
    GAP,
    captions,
    headings,
    join,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.modeling.meta_arch import SuperResolvedRCNN

import numpy as np
import torch
from detectron2.structures import Boxes
from PIL import Image
from torch import Tensor

SIDE = 176  # of a cell, in pixels of the sheet
_NOTE = (
    "Mean of all channels of a region's pooled features, on one scale in each row. Below: root "
    "mean square distance to the target, the atrous twin's features of the full picture, over all "
    "channels and cells."
)


@dataclass(frozen=True)
class Followed:
    """What becomes of one region.

    Attributes:
        low: its features in the reduced picture (C, P, P).
        generated: what the generator makes of them (C, P, P).
        target: its features in the full picture (C, P, P).
    """

    low: Tensor
    generated: Tensor
    target: Tensor


def write_super_resolved_features(
    path: str | Path,
    dataset: Sequence[Mapping],
    models: Mapping[str, torch.nn.Module],
    mapper: Callable[[dict], dict[str, Any]],
    rows: int = 5,
) -> Path:
    """Draw regions of the data set, from low to high resolution.

    Args:
        path: PNG to write.
        dataset: Detectron2 dataset dicts.
        models: name to a trained ``SuperResolvedRCNN``, or a composition around one that does not
            resample; the last one's target is shown.
        mapper: the recipe's test mapper.
        rows: how many objects, spread evenly over those that make a pair.

    Returns:
        The path.

    Raises:
        ValueError: no object makes a pair of an input and a target.
    """
    detectors = {name: _detector(model) for name, model in models.items()}
    last = list(detectors.values())[-1]
    pairs = _pairs(dataset, last)
    if not pairs:
        raise ValueError(
            f"{path}: no object of the data set is between the least area of a target and the "
            "largest of an input: lower super_resolution.min_target_area"
        )
    titles = ["object", "reduced", "its features", *detectors, "target"]
    lines = [join(headings(titles, SIDE), GAP, across=True)]
    for k in range(min(rows, len(pairs))):
        entry, box = pairs[k * len(pairs) // min(rows, len(pairs))]
        lines.append(_row(mapper(dict(entry)), box, detectors))
    lines.append(text_block(_NOTE, lines[0].width, 15))
    return save_sheet(stack(lines), path)


@torch.no_grad()
def follow_region(model: SuperResolvedRCNN, picture: Mapping[str, Any], box: Tensor) -> Followed:
    """Features of one region on their way.

    Args:
        model: in eval mode.
        picture: a Detectron2 input.
        box: (4,), in its pixels.
    """
    images = model.preprocess_image([picture])
    target = model.target_features(images, model.backbone(images.tensor))
    reduced = model.reduced_features([picture])
    boxes = [Boxes(box[None].to(model.device))]
    found = model.roi_heads.follow(reduced, target, boxes, float(model.reducer.factor))
    return Followed(*(features[0].float().cpu() for features in found))


def _detector(model: torch.nn.Module) -> SuperResolvedRCNN:
    return getattr(model, "detector", model)


def _pairs(dataset: Sequence[Mapping], model: SuperResolvedRCNN) -> list[tuple[Mapping, Tensor]]:
    """Objects that super-resolution could learn from, each with its picture."""
    rules, factor = model.roi_heads.super_resolution, float(model.reducer.factor)
    found = []
    for entry in dataset:
        boxes = Boxes(torch.as_tensor(true_objects(entry).boxes, dtype=torch.float32))
        found += [(entry, box) for box in boxes[rules.is_pair([boxes], factor)[0]].tensor]
    return found


def _row(
    picture: Mapping[str, Any], box: Tensor, detectors: Mapping[str, SuperResolvedRCNN]
) -> Image.Image:
    found = [follow_region(model, picture, box) for model in detectors.values()]
    *_, target = found
    maps = [found[-1].low, *(f.generated for f in found), target.target]
    pixels, model = picture["image"].float() / 255, list(detectors.values())[-1]
    window = tuple(box.tolist())
    cells = [
        _crop(pixels, 1.0, window),
        _crop(model.reducer([pixels])[0], float(model.reducer.factor), window),
    ]
    means = [features.mean(0) for features in maps]
    low, high = min(m.min() for m in means), max(m.max() for m in means)
    cells += [_heat((m - low) / (high - low + 1e-12)) for m in means]
    side = (box[2:] - box[:2]).prod().sqrt().item()
    distances = [(m - target.target).square().mean().sqrt().item() for m in maps[:-1]]
    factor = float(model.reducer.factor)
    texts = [f"{side:.0f} px", f"{side / factor:.0f} px", *(f"{d:.2f}" for d in distances), "0"]
    below = join(captions(texts, SIDE, 14), GAP, across=True)
    return join([join(cells, GAP, across=True), below], GAP // 2, across=False)


def _crop(pixels: Tensor, factor: float, window: tuple[float, ...]) -> Image.Image:
    values = (255 * pixels.permute(1, 2, 0).clamp(0, 1)).round().to(torch.uint8).cpu().numpy()
    return look(np.ascontiguousarray(values), factor, window, (SIDE, SIDE))


def _heat(values: Tensor) -> Image.Image:
    """A map (P, P) in [0, 1] in colours, each cell a square."""
    from matplotlib import colormaps

    colors = (255 * colormaps["viridis"](values.numpy())[..., :3]).round().astype(np.uint8)
    return Image.fromarray(colors).resize((SIDE, SIDE), Image.Resampling.NEAREST)
