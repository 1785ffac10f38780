"""Features before and after super-resolution, and their targets ("Better to Follow", Fig. 6).

A row is an object: its pixels, its pixels in the downsampled image, and means over channels of its
pooled features, (P, P) each. Of several ratios, the row shows the smallest at which the object can
be a training pair.
Boxes are XYXY in pixels of the image that the mapper gives, which it may have resized.
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
from lowres_d2.analysis.figures.views import Seen, shown_channels
from lowres_d2.modeling.meta_arch import SuperResolvedRCNN

import numpy as np
import torch
from detectron2.structures import Boxes
from PIL import Image
from torch import Tensor

SIDE = 176  # of a cell, in pixels of the sheet
MOST_IMAGES = 200  # in which objects are looked for, spread evenly over the data set
_NOTE = (
    "Mean of all channels of a region's pooled features, on one colour scale in each row. Below: "
    "root mean square distance to the target, the atrous twin's features of the full-size image, "
    "over all channels and cells."
)


@dataclass(frozen=True)
class Followed:
    """Features of one region, before and after super-resolution, and the target.

    Attributes:
        low: features of the downsampled image (C, P, P).
        generated: output of the generator for them (C, P, P).
        target: features of the full-size image (C, P, P).
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
    """Draw features of objects of the data set before and after super-resolution, and the target.

    Args:
        path: PNG to write.
        dataset: Detectron2 dataset dicts.
        models: name to a trained ``SuperResolvedRCNN``, or a composition around one that does not
            resample; the last one's target is shown, at a ratio that all of them have.
        mapper: the recipe's test mapper.
        rows: number of objects, spread evenly over those that make a training pair.

    Returns:
        The path.

    Raises:
        ValueError: no object makes a pair of a small input and a target.
    """
    detectors = {name: _detector(model) for name, model in models.items()}
    pairs = _pairs(dataset, list(detectors.values()), mapper)
    if not pairs:
        raise ValueError(
            f"{path}: no object of the data set is large enough for a target and, downsampled by a "
            "ratio that all models have, small enough for an input: lower "
            "super_resolution.min_target_area"
        )
    titles = ["object", "downsampled", "its features", *detectors, "target"]
    lines = [join(headings(titles, SIDE), GAP, across=True)]
    for k in range(min(rows, len(pairs))):
        entry, box, ratio = pairs[k * len(pairs) // min(rows, len(pairs))]
        form = getattr(mapper, "image_format", "RGB")
        lines.append(_row(mapper(dict(entry)), box, ratio, detectors, form))
    lines.append(text_block(_NOTE, lines[0].width, 15))
    return save_sheet(stack(lines), path)


@torch.no_grad()
def follow_region(
    model: SuperResolvedRCNN, image: Mapping[str, Any], box: Tensor, ratio: int
) -> Followed:
    """Features of one region, before and after super-resolution, and the target.

    Args:
        model: in eval mode.
        image: a Detectron2 input.
        box: (4,), in pixels of the image.
        ratio: factor by which the image is downsampled.
    """
    images = model.preprocess_image([image])
    target = model.target_features(images, model.backbone(images.tensor), ratio)
    low_res = model.low_res_features([image], ratio)
    boxes = [Boxes(box[None].to(model.device))]
    offsets = model.target_offsets(ratio)
    found = model.roi_heads.follow(low_res, target, boxes, ratio, offsets)
    return Followed(*(features[0].float().cpu() for features in found))


def _detector(model: torch.nn.Module) -> SuperResolvedRCNN:
    return getattr(model, "detector", model)


def _pairs(
    dataset: Sequence[Mapping],
    models: Sequence[SuperResolvedRCNN],
    mapper: Callable[[dict], dict[str, Any] | None],
) -> list[tuple[Mapping, Tensor, int]]:
    """Training pairs of the last model: image, object and a ratio that all models have."""
    rules = [model.roi_heads.super_resolution for model in models]
    ratios = [ratio for ratio in rules[-1].ratios if all(ratio in r.ratios for r in rules)]
    found = []
    for k in range(0, len(dataset), max(1, -(-len(dataset) // MOST_IMAGES))):
        entry = dataset[k]
        image = mapper(dict(entry))
        if image is None:  # one that the mapper skips
            continue
        height, width = image["image"].shape[-2:]
        scale = np.array((width / entry["width"], height / entry["height"]) * 2)
        boxes = Boxes(torch.as_tensor(true_objects(entry).boxes * scale, dtype=torch.float32))
        fits = {ratio: rules[-1].is_pair([boxes], ratio)[0] for ratio in ratios}
        for j, box in enumerate(boxes.tensor):
            found += [(entry, box, ratio) for ratio in ratios if fits[ratio][j]][:1]
    return found


def _row(
    image: Mapping[str, Any],
    box: Tensor,
    ratio: int,
    detectors: Mapping[str, SuperResolvedRCNN],
    image_format: str | None,
) -> Image.Image:
    found = [follow_region(model, image, box, ratio) for model in detectors.values()]
    *_, target = found
    maps = [found[-1].low, *(f.generated for f in found), target.target]
    pixels, model = image["image"].float() / 255, list(detectors.values())[-1]
    window, low_res = tuple(box.tolist()), model.downsamplers[str(ratio)]([pixels])[0]
    cells = [
        _crop(shown_channels(pixels, image_format), 1.0, window),
        _crop(shown_channels(low_res, image_format), ratio, window),
    ]
    means = [features.mean(0) for features in maps]
    low, high = min(m.min() for m in means), max(m.max() for m in means)
    cells += [_heat((m - low) / (high - low + 1e-12)) for m in means]
    side = (box[2:] - box[:2]).prod().sqrt().item()
    distances = [(m - target.target).square().mean().sqrt().item() for m in maps[:-1]]
    texts = [f"{side:.0f} px", f"{side / ratio:.0f} px", *(f"{d:.2f}" for d in distances), "0"]
    below = join(captions(texts, SIDE, 14), GAP, across=True)
    return join([join(cells, GAP, across=True), below], GAP // 2, across=False)


def _crop(values: np.ndarray, factor: float, window: tuple[float, ...]) -> Image.Image:
    return look(Seen(values, factor).pixels, factor, window, (SIDE, SIDE))


def _heat(values: Tensor) -> Image.Image:
    """A feature map (P, P) in [0, 1] in colours, each cell a square."""
    from matplotlib import colormaps

    colors = (255 * colormaps["viridis"](values.numpy())[..., :3]).round().astype(np.uint8)
    return Image.fromarray(colors).resize((SIDE, SIDE), Image.Resampling.NEAREST)
