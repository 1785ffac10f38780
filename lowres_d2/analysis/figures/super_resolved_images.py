"""Sheets of super-resolved images (DFD, Fig. 3): a column for each image, a row for each network.

The first rows have the targets (HR), the networks' input (LR), and the input enlarged by bicubic
interpolation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.drawing import look
from lowres_d2.analysis.figures.sheets import (
    GAP,
    captions,
    join,
    row,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.analysis.figures.views import Seen, shown_channels
from lowres_d2.data.datasets.sample import even_indices
from lowres_d2.evaluation.super_resolution.similarity import psnr
from lowres_d2.modeling.meta_arch import SuperResolver
from lowres_d2.modeling.modes import in_eval_mode

import torch
from PIL import Image
from torch import Tensor, nn

IMAGES = 8  # in a row
_SIDE, _TITLE, _TEXT = 144, 190, 14
_NOTE = (
    "Each pixel is one square. Below an image: its size, or its PSNR against HR, over all channels "
    "and pixels."
)


def write_super_resolved(
    path: str | Path,
    dataset: Sequence[Mapping],
    models: Mapping[str, nn.Module],
    mapper: Any = None,
    images: int = IMAGES,
) -> Path:
    """Draw what networks make of some images of a data set, spread evenly over it.

    Args:
        path: PNG to write.
        dataset: Detectron2 dataset dicts.
        models: name to a trained ``SuperResolver``, or a composition around one; all of the same
            pairs.
        mapper: the recipe's test mapper; None: the images are in memory.
        images: number of images at most.

    Returns:
        The path.

    Raises:
        ValueError: a model is no ``SuperResolver``, or has other pairs than the first one.
    """
    chosen = [dataset[k] for k in even_indices(len(dataset), images)]
    inputs = [dict(entry) if mapper is None else mapper(dict(entry)) for entry in chosen]
    found = {name: _found(name, model, inputs) for name, model in models.items()}
    (first, pairs), *others = found.items()
    for name, other in others:
        if any(
            a[key].shape != b[key].shape or not torch.allclose(a[key], b[key], atol=1e-4)
            for a, b in zip(pairs, other, strict=True)
            for key in ("target", "low_res")
        ):
            raise ValueError(
                f"{name} has other pairs than {first}: give all the same low_factor, factor and "
                "interpolation"
            )
    form = getattr(mapper, "image_format", "RGB")
    targets, low_res, bicubic = (
        [one[key] for one in pairs] for key in ("target", "low_res", "bicubic")
    )
    rows = [("HR", targets, list(map(_size, targets))), ("LR", low_res, list(map(_size, low_res)))]
    rows.append(("bicubic", bicubic, _psnr(bicubic, targets)))
    for name, of in found.items():
        made = [one["super_resolved"] for one in of]
        rows.append((name, made, _psnr(made, targets)))
    lines = []
    for start in range(0, len(chosen), IMAGES):
        part = slice(start, start + IMAGES)
        lines += [_row(title, made[part], texts[part], form) for title, made, texts in rows]
    lines.append(text_block(_NOTE, lines[0].width, 15))
    return save_sheet(stack(lines), path)


@torch.no_grad()
def _found(name: str, model: nn.Module, inputs: Sequence[dict]) -> list[dict[str, Tensor]]:
    if not isinstance(getattr(model, "detector", model), SuperResolver):
        raise ValueError(f"{name}: its model is no SuperResolver, whose images are drawn")
    with in_eval_mode(model):
        outputs = model(list(inputs))
    return [{key: value.float().cpu() for key, value in output.items()} for output in outputs]


def _row(
    title: str, images: Sequence[Tensor], texts: Sequence[str], image_format: str | None
) -> Image.Image:
    cells = [
        join([_square(image, image_format), text], GAP // 2, across=False)
        for image, text in zip(images, captions(texts, _SIDE, _TEXT), strict=True)
    ]
    return row([text_block(title, _TITLE, 16), *cells])


def _square(image: Tensor, image_format: str | None) -> Image.Image:
    """An image in a square, whatever its proportions."""
    height, width = image.shape[-2:]
    scale = _SIDE / max(height, width)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    seen = Seen(shown_channels(image, image_format), 1.0)
    square = Image.new("RGB", (_SIDE, _SIDE), "white")
    square.paste(look(seen.pixels, 1.0, (0.0, 0.0, float(width), float(height)), size), (0, 0))
    return square


def _psnr(images: Sequence[Tensor], targets: Sequence[Tensor]) -> list[str]:
    pairs = zip(images, targets, strict=True)
    return [f"{psnr(image[None], target[None]).item():.1f} dB" for image, target in pairs]


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"
