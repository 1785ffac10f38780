"""A sheet of the generated plates: all classes, images with boxes, the same images at 1/4 size."""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.plates.dataset import SPLITS, VARIANTS
from lowres_d2.data.plates.glyphs import PLATE_CLASSES
from lowres_d2.data.plates.scene import Plate, Scene, SceneSettings, lay_out, paint_scene
from lowres_d2.own_files import own_path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_COLUMNS, _CELL, _GAP, _CAPTION = 4, 256, 8, 22
_WIDTH = _COLUMNS * _CELL + (_COLUMNS + 1) * _GAP


def plate_sheet(path: str | Path, seed: int = 0) -> None:
    """Save the sheet that the README shows.

    Args:
        path: image file to write.
        seed: seed of the images on it.
    """
    images = [_labelled(seed, index, "standard") for index in range(_COLUMNS)]
    few_pixels = [(_enlarged(image, factor=4), []) for image, _ in images]
    tiny = [_labelled(seed, _COLUMNS + index, "tiny") for index in range(_COLUMNS)]
    rows = [
        _legend(seed),
        _row("standard: 6 to 96 px, with ground truth", images),
        _row("the same images, downsampled 4x", few_pixels),
        _row("tiny: 4 to 16 px, with ground truth", tiny),
    ]
    sheet = Image.fromarray(np.concatenate([np.asarray(row) for row in rows]))
    with own_path(path) as part:
        sheet.save(part)


def _labelled(seed: int, index: int, variant: str) -> tuple[Image.Image, list[Plate]]:
    scene = lay_out(seed, SPLITS.index("val"), index, VARIANTS[variant])
    plates = [plate for plate in scene.plates if plate.label is not None]
    return Image.fromarray(paint_scene(scene)), plates


def _enlarged(image: Image.Image, factor: int) -> Image.Image:
    small = image.resize((image.width // factor, image.height // factor), Image.Resampling.BICUBIC)
    return small.resize(image.size, Image.Resampling.NEAREST)


def _strip(height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    strip = Image.new("RGB", (_WIDTH, height), "white")
    return strip, ImageDraw.Draw(strip)


def _row(caption: str, images: list[tuple[Image.Image, list[Plate]]]) -> Image.Image:
    strip, draw = _strip(_CAPTION + _CELL + _GAP)
    draw.text((_GAP, 3), caption, fill="black", font=ImageFont.load_default(14))
    for column, (image, plates) in enumerate(images):
        x, y = _GAP + column * (_CELL + _GAP), _CAPTION
        strip.paste(image, (x, y))
        for plate in plates:
            x0, y0, x1, y1 = plate.box
            box = (x + x0 - 3, y + y0 - 3, x + x1 + 2, y + y1 + 2)
            draw.rectangle(box, outline=(0, 255, 80))
    return strip


def _legend(seed: int) -> Image.Image:
    """One large plate of each class."""
    side = (_WIDTH - _GAP) // len(PLATE_CLASSES) - _GAP
    strip, draw = _strip(_GAP + side + _CAPTION)
    settings = SceneSettings(image_size=side, size_range=(side / 2, 0.75 * side))
    margin = side // 8
    for label, name in enumerate(PLATE_CLASSES):
        plate = Plate((margin, margin, side - margin, side - margin), label)
        scene = Scene(settings, [plate], np.random.default_rng([seed, label]))
        x = _GAP + label * (side + _GAP)
        strip.paste(Image.fromarray(paint_scene(scene)), (x, _GAP))
        draw.text((x + 2, _GAP + side + 3), name, fill="black", font=ImageFont.load_default(14))
    return strip
