"""Sheets of images: text, rows and columns, a legend, and a file that web pages can show."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.analysis.figures.drawing import INK, PAPER, Color, dashed_frame
from lowres_d2.fonts import drawable_text, font_for
from lowres_d2.own_files import own_path

from PIL import Image, ImageDraw, ImageOps

GAP = 8
SHEET = 1600  # target width of a sheet, in pixels
LARGEST_PANEL, SMALLEST_PANEL = 512, 256
MOST_BYTES = 950_000  # file size that web pages show without complaint
SWATCH = 18


def panel_side(columns: int) -> int:
    """Longest side of an image in a row of ``columns``; enlarges 2^k pixels evenly."""
    side = SHEET // columns // 64 * 64
    return min(max(side, SMALLEST_PANEL), LARGEST_PANEL)


def text_block(text: str, width: int, size: int) -> Image.Image:
    """Text, wrapped to a width."""
    return _lines(wrap(text, width, size), width, size)


def wrap(text: str, width: int, size: int, bold: bool = False) -> list[str]:
    """The lines of a text, wrapped to a width: between words, and in those that are wider."""
    text = "\n".join(drawable_text(line, bold) for line in text.split("\n"))
    letters = font_for(text, size, bold)
    lines = []
    for line in text.split("\n"):
        lines.append("")
        for number, word in enumerate(line.split(" ")):
            longer = f"{lines[-1]} {word}" if number else word
            if letters.getlength(longer) <= width:
                lines[-1] = longer
                continue
            if number:
                lines.append("")
            for letter in word:  # one by one only where the word alone is too wide
                if lines[-1] and letters.getlength(lines[-1] + letter) > width:
                    lines.append("")
                lines[-1] += letter
    return lines


def headings(titles: Sequence[str], width: int) -> list[Image.Image]:
    """A heading for each column, all of one height; shorter ones are aligned at the bottom."""
    size = 20
    blocks = [wrap(title, width, size, bold=True) for title in titles]
    most = max(map(len, blocks))
    return [_lines([""] * (most - len(lines)) + lines, width, size, bold=True) for lines in blocks]


def heading_row(titles: Sequence[str], width: int) -> Image.Image:
    """The first row of a sheet: a heading for each column."""
    return row(headings(titles, width))


def captions(texts: Sequence[str], width: int, size: int) -> list[Image.Image]:
    """A text for each cell of a row, all of one height."""
    blocks = [wrap(text, width, size) for text in texts]
    most = max(map(len, blocks))
    return [_lines(lines + [""] * (most - len(lines)), width, size) for lines in blocks]


def _lines(lines: Sequence[str], width: int, size: int, bold: bool = False) -> Image.Image:
    step = round(1.4 * size)
    image = Image.new("RGB", (width, step * len(lines)), PAPER)
    draw = ImageDraw.Draw(image)
    for k, line in enumerate(lines):
        draw.text((0, k * step), line, fill=INK, font=font_for(line, size, bold))
    return image


def join(images: Sequence[Image.Image], gap: int, across: bool) -> Image.Image:
    """Images side by side, or one below the other."""
    sizes = [image.width if across else image.height for image in images]
    length = sum(sizes) + gap * (len(images) - 1)
    other = max(image.height if across else image.width for image in images)
    whole = Image.new("RGB", (length, other) if across else (other, length), PAPER)
    at = 0
    for image, size in zip(images, sizes, strict=True):
        whole.paste(image, (at, 0) if across else (0, at))
        at += size + gap
    return whole


def row(cells: Sequence[Image.Image]) -> Image.Image:
    """A row of a sheet: cells side by side."""
    return join(cells, 2 * GAP, across=True)


def legend(
    entries: Sequence[tuple[str, Color]], width: int, dashed: Sequence[str] = ()
) -> Image.Image:
    """Names with their colours, in as many lines as they need.

    Args:
        entries: name and colour.
        width: width of the result.
        dashed: names that are drawn as dashed boxes.
    """
    step = 26
    places, x, y = [], 0, 0
    for name, _ in entries:
        letters = font_for(name, 16)
        wide = SWATCH + 30 + round(letters.getlength(name))
        if x and x + wide > width:
            x, y = 0, y + step
        places.append((x, y))
        x += wide
    image = Image.new("RGB", (width, y + step), PAPER)
    draw = ImageDraw.Draw(image)
    for (name, color), (x, y) in zip(entries, places, strict=True):
        swatch = (x, y + 2, x + SWATCH, y + 2 + SWATCH)
        if name in dashed:
            draw.rectangle(swatch, fill=(128, 128, 128))
            dashed_frame(draw, swatch, color, 3)
        else:
            draw.rectangle(swatch, fill=color, outline=INK)
        draw.text((x + SWATCH + 8, y), name, fill=INK, font=font_for(name, 16))
    return image


def stack(lines: Sequence[Image.Image]) -> Image.Image:
    """A sheet of rows, with a margin."""
    return ImageOps.expand(join(lines, 2 * GAP, across=False), border=2 * GAP, fill=PAPER)


def save_sheet(sheet: Image.Image, path: str | Path) -> Path:
    """Write a sheet as PNG, with fewer shades of each colour where it would be too large."""
    for shades in (256, 64, 40, 24, 16):
        data = _png(_with_shades(sheet, shades))
        # The last one is written whatever its size.
        if len(data) <= MOST_BYTES:
            break
    with own_path(path) as part:
        part.write_bytes(data)
    return Path(path)


def _with_shades(image: Image.Image, number: int) -> Image.Image:
    """Black and white stay exact; noise, which PNG cannot compress, becomes less."""
    step = 255 / (number - 1)
    return image.point([round(round(value / step) * step) for value in range(256)] * 3)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()
