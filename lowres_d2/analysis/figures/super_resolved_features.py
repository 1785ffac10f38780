"""Features that super-resolution starts from, reaches and follows ("Better to Follow", Fig. 6).

A row is an object: its pixels, its pixels in the reduced image, and means over channels of its
pooled features, (P, P) each. Of several ratios it shows the smallest that the object could teach.
Boxes are XYXY in pixels of the original image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.detections import true_objects
from lowres_d2.analysis.figures.drawing import look
from lowres_d2.analysis.figures.sheets import (
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
    "mean square distance to the target, the atrous twin's features of the full image, over all "
    "channels and cells."
)


@dataclass(frozen=True)
class Followed:
    """What becomes of one region.

    Attributes:
        low: its features in the reduced image (C, P, P).
        generated: what the generator makes of them (C, P, P).
        target: its features in the full image (C, P, P).
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
            resample; the last one's target is shown, by a ratio that all of them have.
        mapper: the recipe's test mapper.
        rows: how many objects, spread evenly over those that make a pair.

    Returns:
        The path.

    Raises:
        ValueError: no object makes a pair of an input and a target.
    """
    detectors = {name: _detector(model) for name, model in models.items()}
    pairs = _pairs(dataset, list(detectors.values()))
    if not pairs:
        raise ValueError(
            f"{path}: no object of the data set is between the least area of a target and the "
            "largest of an input, by a ratio of all models: lower super_resolution.min_target_area"
        )
    titles = ["object", "reduced", "its features", *detectors, "target"]
    lines = [join(headings(titles, SIDE), GAP, across=True)]
    for k in range(min(rows, len(pairs))):
        entry, box, ratio = pairs[k * len(pairs) // min(rows, len(pairs))]
        lines.append(_row(mapper(dict(entry)), box, ratio, detectors))
    lines.append(text_block(_NOTE, lines[0].width, 15))
    return save_sheet(stack(lines), path)


@torch.no_grad()
def follow_region(
    model: SuperResolvedRCNN, image: Mapping[str, Any], box: Tensor, ratio: int
) -> Followed:
    """Features of one region on their way.

    Args:
        model: in eval mode.
        image: a Detectron2 input.
        box: (4,), in its pixels.
        ratio: by which the image is reduced.
    """
    images = model.preprocess_image([image])
    target = model.target_features(images, model.backbone(images.tensor), ratio)
    reduced = model.reduced_features([image], ratio)
    boxes = [Boxes(box[None].to(model.device))]
    found = model.roi_heads.follow(reduced, target, boxes, ratio)
    return Followed(*(features[0].float().cpu() for features in found))


def _detector(model: torch.nn.Module) -> SuperResolvedRCNN:
    return getattr(model, "detector", model)


def _pairs(
    dataset: Sequence[Mapping], models: Sequence[SuperResolvedRCNN]
) -> list[tuple[Mapping, Tensor, int]]:
    """Objects that the last model could learn from, each with its image and a common ratio."""
    rules = [model.roi_heads.super_resolution for model in models]
    ratios = [ratio for ratio in rules[-1].ratios if all(ratio in r.ratios for r in rules)]
    found = []
    for entry in dataset:
        boxes = Boxes(torch.as_tensor(true_objects(entry).boxes, dtype=torch.float32))
        fits = {ratio: rules[-1].is_pair([boxes], ratio)[0] for ratio in ratios}
        for k, box in enumerate(boxes.tensor):
            found += [(entry, box, ratio) for ratio in ratios if fits[ratio][k]][:1]
    return found


def _row(
    image: Mapping[str, Any],
    box: Tensor,
    ratio: int,
    detectors: Mapping[str, SuperResolvedRCNN],
) -> Image.Image:
    found = [follow_region(model, image, box, ratio) for model in detectors.values()]
    *_, target = found
    maps = [found[-1].low, *(f.generated for f in found), target.target]
    pixels, model = image["image"].float() / 255, list(detectors.values())[-1]
    window = tuple(box.tolist())
    cells = [
        _crop(pixels, 1.0, window),
        _crop(model.reducers[str(ratio)]([pixels])[0], ratio, window),
    ]
    means = [features.mean(0) for features in maps]
    low, high = min(m.min() for m in means), max(m.max() for m in means)
    cells += [_heat((m - low) / (high - low + 1e-12)) for m in means]
    side = (box[2:] - box[:2]).prod().sqrt().item()
    distances = [(m - target.target).square().mean().sqrt().item() for m in maps[:-1]]
    texts = [f"{side:.0f} px", f"{side / ratio:.0f} px", *(f"{d:.2f}" for d in distances), "0"]
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
