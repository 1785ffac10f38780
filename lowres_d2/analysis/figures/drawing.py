"""Boxes on enlarged images: pixels stay square pixels, lines stay outside of tiny objects.

An image is RGB uint8 (H, W, 3). A window is (x0, y0, x1, y1) in pixels of the original image.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field

from lowres_d2.fonts import font_for

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Window = tuple[float, float, float, float]

INK: Color = (32, 32, 32)
PAPER: Color = (255, 255, 255)
# Sasha Trubetskoy's list of simple, distinct colours (sashamaps.net), the bright ones.
DISTINCT: tuple[Color, ...] = (
    (230, 25, 75),
    (60, 180, 75),
    (255, 225, 25),
    (0, 150, 255),
    (245, 130, 48),
    (190, 90, 255),
    (70, 240, 240),
    (240, 50, 230),
    (210, 245, 60),
    (250, 190, 212),
    (0, 128, 128),
    (170, 110, 40),
)
DASH = 4  # length of a dash, in shown pixels
GOLDEN = 0.618034  # steps of the golden ratio keep hues of neighbouring classes apart


def class_colors(number: int) -> list[Color]:
    """One bright colour for each class, always the same for the same class."""
    colors = list(DISTINCT)
    for k in range(number - len(DISTINCT)):
        r, g, b = colorsys.hsv_to_rgb(k * GOLDEN % 1, 0.9, (1.0, 0.7)[k % 2])
        colors.append((round(255 * r), round(255 * g), round(255 * b)))
    return colors[:number]


def look(
    image: np.ndarray,
    factor: float,
    window: Window,
    size: tuple[int, int],
    stretch: float = 1.0,
) -> Image.Image:
    """Render a window of an image at some size, by nearest neighbour where pixels get larger.

    Args:
        image: pixels to show, of which row j covers [factor j, factor (j + 1)) of the original
            image.
        factor: 1 for the original image itself.
        window: the part to show.
        size: (height, width) of the result.
        stretch: the columns' factor over that of the rows.
    """
    height, width = size
    x0, y0, x1, y1 = (edge / factor for edge in window)
    x0, x1 = x0 / stretch, x1 / stretch
    if width >= x1 - x0:
        # The pixel in which the centre of each shown pixel lies.
        columns = np.floor(x0 + (np.arange(width) + 0.5) * (x1 - x0) / width)
        rows = np.floor(y0 + (np.arange(height) + 0.5) * (y1 - y0) / height)
        columns = columns.clip(0, image.shape[1] - 1).astype(int)
        rows = rows.clip(0, image.shape[0] - 1).astype(int)
        return Image.fromarray(image[rows[:, None], columns[None]])
    whole = Image.fromarray(image)
    box = (max(x0, 0), max(y0, 0), min(x1, whole.width), min(y1, whole.height))
    return whole.resize((width, height), Image.Resampling.LANCZOS, box=box)


@dataclass
class Panel:
    """An enlarged window onto an image, to draw boxes on.

    Attributes:
        image: what is shown.
        window: the part of the original image that it shows.
        line: width of lines, in shown pixels.
        text: font size, in shown pixels.
    """

    image: Image.Image
    window: Window
    line: int = 2
    text: int = 12
    _taken: list[Window] = field(default_factory=list)

    @property
    def scale(self) -> float:
        """Shown pixels per pixel of the original image."""
        return self.image.width / (self.window[2] - self.window[0])

    def shown_share(self, box: Sequence[float]) -> float:
        """Share of a box's area that lies in the window, 0 to 1."""
        area = (box[2] - box[0]) * (box[3] - box[1])
        return _overlap(box, self.window) / area if area > 0 else 0.0

    def box(self, box: Sequence[float], color: Color, dashed: bool = False) -> None:
        """Draw a box, given in the original image, around its pixels; dashed for missed objects."""
        draw = ImageDraw.Draw(self.image)
        frame = self._frame(box)
        if self.line > 1:  # a thin line stays one
            halo = (frame[0] - 1, frame[1] - 1, frame[2] + 1, frame[3] + 1)
            draw.rectangle(halo, outline=INK)
        if dashed:
            draw.rectangle(frame, outline=INK, width=self.line)
            dashed_frame(draw, frame, color, self.line)
        else:
            draw.rectangle(frame, outline=color, width=self.line)
        self._taken.append(frame)

    def label(self, box: Sequence[float], color: Color, text: str) -> None:
        """Write a text beside a box, where it hides least; call it after all boxes are drawn."""
        letters = font_for(text, self.text)
        left, top, right, bottom = letters.getbbox(text)
        width, height = right - left + 6, bottom - top + 6
        x0, y0, x1, y1 = self._frame(box)
        places = [
            (x, y)
            for y in (y0 - height - 1, y1 + 2, y0 - 1, y1 - height + 2)
            for x in (x0 - 1, x1 - width + 2, x1 + 2, x0 - width - 1)
        ]
        x, y = min(places, key=lambda place: self._cost(place[0], place[1], width, height))
        x = min(max(x, 0), max(self.image.width - width, 0))
        y = min(max(y, 0), max(self.image.height - height, 0))
        draw = ImageDraw.Draw(self.image)
        draw.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
        # BT.601 luma, 0 to 255.
        light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
        fill = INK if light > 120 else PAPER
        draw.text((x + 3 - left, y + 3 - top), text, fill=fill, font=letters)
        self._taken.append((x, y, x + width, y + height))

    def _frame(self, box: Sequence[float]) -> Window:
        x0, y0, x1, y1 = self._shown(box)
        return x0 - self.line, y0 - self.line, x1 + self.line - 1, y1 + self.line - 1

    def _shown(self, box: Sequence[float]) -> list[int]:
        left, top = self.window[:2]
        return [
            round((edge - start) * self.scale)
            for edge, start in zip(box, (left, top, left, top), strict=True)
        ]

    def _cost(self, x: float, y: float, width: float, height: float) -> float:
        """Cost of a label's place: area outside of the image, and area over boxes and labels."""
        place = (x, y, x + width, y + height)
        inside = _overlap(place, (0, 0, *self.image.size))
        return 3 * (width * height - inside) + sum(_overlap(place, other) for other in self._taken)


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def dashed_frame(draw: ImageDraw.ImageDraw, frame: Window, color: Color, line: int) -> None:
    """Draw a dashed rectangle, whose gaps keep the pixels below."""
    x0, y0, x1, y1 = (int(edge) for edge in frame)
    last = line - 1
    for start in range(0, max(x1 - x0, y1 - y0), 2 * DASH):
        left, right = min(x0 + start, x1), min(x0 + start + DASH, x1)
        top, bottom = min(y0 + start, y1), min(y0 + start + DASH, y1)
        for y in (y0, y1 - last):
            draw.rectangle((left, y, right, y + last), fill=color)
        for x in (x0, x1 - last):
            draw.rectangle((x, top, x + last, bottom), fill=color)
