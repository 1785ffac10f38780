"""Picture sheets: ground truth beside what each run saw and found, tiny objects zoomed.

Each column shows the pixels that its detector received, so a run on 64x64 pixels shows 64x64 big
squares. A dashed white box is an object that the run missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lowres_d2.analysis.detections import Objects, match, true_objects
from lowres_d2.analysis.drawing import (
    INK,
    PAPER,
    Color,
    Panel,
    Window,
    class_colors,
    font,
    look,
)
from lowres_d2.data import DetectionMapper

import numpy as np
import torch
from detectron2.data.detection_utils import read_image
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import nn

MISSED: Color = (255, 255, 255)
PANEL = 512  # longest side of a picture, in pixels of the sheet
INSETS = 3  # zoomed objects below a picture
GAP = 8

# A dataset dict to the pixels that a network receives, RGB uint8 (H, W, 3), and how many pixels of
# the original picture one of them covers on either axis.
View = Callable[[Mapping], tuple[np.ndarray, float]]


@dataclass(frozen=True)
class Column:
    """One column of a sheet.

    Attributes:
        title: its heading.
        found: detections to draw, by image id; None draws the ground truth.
        view: what the network saw of a picture; None shows the picture itself.
    """

    title: str
    found: Mapping[object, Objects] | None = None
    view: View | None = None


def model_view(model: nn.Module, mapper: DetectionMapper | None = None) -> View:
    """The view of a detector: what it receives after the mapper and its resampler.

    Args:
        model: with its weights, where its resampler has any; a detector without ``resampler`` sees
            what the mapper gives.
        mapper: the recipe's test mapper; None changes nothing about the pictures.
    """
    read = mapper or DetectionMapper(is_train=False, image_format="RGB")
    resampler = getattr(model, "resampler", None)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    @torch.no_grad()
    def view(entry: Mapping) -> tuple[np.ndarray, float]:
        image = read(dict(entry))["image"]
        factor = entry["height"] / image.shape[-2]
        pixels = image.to(device).float() / 255
        if resampler is not None:
            pixels = resampler([pixels])[0]
            factor *= float(resampler.factor)
        pixels = (pixels * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
        if read.image_format == "BGR":
            pixels = pixels[..., ::-1]
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3)), factor

    return view


def choose_pictures(dataset: Sequence[Mapping], number: int) -> list[Mapping]:
    """Pictures with tiny objects, spread evenly over the data set, whatever was found on them.

    Args:
        dataset: Detectron2 dataset dicts.
        number: at most so many.
    """
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
    """One row a picture, one column a run; each picture with its tiniest objects zoomed beside it.

    Args:
        entries: Detectron2 dataset dicts.
        columns: usually ground truth first.
        classes: names in the order of the labels.
    """
    colors = class_colors(len(classes))
    heads = [_text_line(column.title, PANEL, 26, font(18, bold=True)) for column in columns]
    rows = [[_cell(entry, column, classes, colors) for column in columns] for entry in entries]
    lines = [_join(images, 2 * GAP, across=True) for images in (heads, *rows)]
    lines.append(_legend(classes, colors, lines[0].width))
    return ImageOps.expand(_join(lines, 2 * GAP, across=False), border=2 * GAP, fill=PAPER)


def _cell(
    entry: Mapping, column: Column, classes: Sequence[str], colors: Sequence[Color]
) -> Image.Image:
    picture = np.ascontiguousarray(read_image(entry["file_name"], format="RGB"))
    seen, factor = column.view(entry) if column.view else (picture, 1.0)
    height, width = picture.shape[:2]
    truth = true_objects(entry)
    scale = PANEL / max(height, width)
    side = (PANEL - (INSETS - 1) * GAP) // INSETS
    whole = (0.0, 0.0, float(width), float(height))
    views = [(whole, (round(height * scale), round(width * scale)))]
    views += [(window, (side, side)) for window in zoom_windows(truth, width, height)]
    panels = [Panel(look(seen, factor, window, size), window) for window, size in views]
    for panel in panels:
        _draw(panel, truth, column.found, entry["image_id"], classes, colors)
    caption = f"{seen.shape[1]} x {seen.shape[0]} pixels"
    parts = [panels[0].image, _text_line(caption, PANEL, 18, font(13))]
    if len(panels) > 1:
        parts.append(_join([panel.image for panel in panels[1:]], GAP, across=True))
    cell = _join(parts, GAP // 2, across=False)
    wide = Image.new("RGB", (PANEL, cell.height), PAPER)
    wide.paste(cell, (0, 0))
    return wide


def _draw(
    panel: Panel,
    truth: Objects,
    found: Mapping[object, Objects] | None,
    image_id: object,
    classes: Sequence[str],
    colors: Sequence[Color],
) -> None:
    shown = truth if found is None else found.get(image_id, Objects.from_rows([]))
    if found is not None:
        for box in truth[~match(truth, shown)[0]].boxes:
            if panel.shown_share(box):
                panel.box(box, MISSED, dashed=True)
    shares = np.array([panel.shown_share(box) for box in shown.boxes])
    for box, label in zip(shown.boxes[shares > 0], shown.labels[shares > 0], strict=True):
        panel.box(box, colors[label])
    named = shown[shares > 0.5]  # a box that is cut off is named where it is whole
    for box, label, score in zip(named.boxes, named.labels, named.scores, strict=True):
        text = classes[label] if found is None else f"{classes[label]} {score:.2f}"
        panel.label(box, colors[label], text)


def zoom_windows(truth: Objects, width: int, height: int) -> list[Window]:
    """Square windows on the tiniest objects, smallest first, none of which shows another's."""
    windows: list[Window] = []
    centres: list[tuple[float, float, float]] = []
    sizes = truth.sizes()
    for k in np.argsort(sizes, kind="stable"):
        side = max(4 * sizes[k], 32.0)
        if side > min(width, height) / 2:  # hardly a zoom
            break
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


def _text_line(text: str, width: int, height: int, letters: ImageFont.FreeTypeFont) -> Image.Image:
    image = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(image).text((0, 0), text, fill=INK, font=letters)
    return image


def _legend(classes: Sequence[str], colors: Sequence[Color], width: int) -> Image.Image:
    letters = font(14)
    entries = [*zip(classes, colors, strict=True), ("missed (dashed)", MISSED)]
    places, x, y = [], 0, 0
    for name, _ in entries:
        wide = 42 + round(letters.getlength(name))
        if x and x + wide > width:
            x, y = 0, y + 24
        places.append((x, y))
        x += wide
    image = Image.new("RGB", (width, y + 24), PAPER)
    draw = ImageDraw.Draw(image)
    for (name, color), (x, y) in zip(entries, places, strict=True):
        draw.rectangle((x, y + 2, x + 16, y + 18), fill=color, outline=INK)
        draw.text((x + 24, y), name, fill=INK, font=letters)
    return image


def _join(images: Sequence[Image.Image], gap: int, across: bool) -> Image.Image:
    sizes = [image.width if across else image.height for image in images]
    length = sum(sizes) + gap * (len(images) - 1)
    other = max(image.height if across else image.width for image in images)
    whole = Image.new("RGB", (length, other) if across else (other, length), PAPER)
    at = 0
    for image, size in zip(images, sizes, strict=True):
        whole.paste(image, (at, 0) if across else (0, at))
        at += size + gap
    return whole
