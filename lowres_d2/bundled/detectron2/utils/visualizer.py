"""Drawing boxes, labels and scores on an image, by Pillow.

An image is RGB (H, W, 3) in 0..255; coordinates are pixels of that image, whatever the scale of
the drawing. A colour is anything matplotlib understands: "g", "tab:blue", (r, g, b) in 0..1.
Colours come in a fixed order and jitter from a generator of our own: drawing during training leaves
the global random state alone.
"""

from __future__ import annotations

import colorsys
import itertools
import math
from collections.abc import Sequence
from enum import Enum, unique
from typing import Any

from lowres_d2.fonts import font_for, is_drawable

import numpy as np
import torch
from detectron2._uncovered import needs_upstream, uncovered
from detectron2.data import Metadata, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from detectron2.utils.colormap import colormap
from PIL import Image, ImageDraw

__all__ = ["ColorMode", "VisImage", "Visualizer"]

GenericMask = uncovered("GenericMask")
Color = str | Sequence[float] | np.ndarray

# The label of an object smaller than this (area in px^2, or height in px, at scale 1) stands
# beside it, not in it.
SMALL_AREA, SMALL_HEIGHT = 1000, 40
SMALLEST_LABEL = 10  # pixels of the drawing
LINE_ALPHA = 0.8
PIXELS_PER_POINT = 100 / 72


@unique
class ColorMode(Enum):
    """How instances are coloured."""

    IMAGE = 0
    """A colour of its own for each."""
    SEGMENTATION = 1
    """Colours of the classes, from the metadata."""
    IMAGE_BW = 2
    """As IMAGE, on a grey image."""


def _rgb(color: Color) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(color if isinstance(color, str) else tuple(float(c) for c in color))


def _rgba255(color: Color, alpha: float) -> tuple[int, ...]:
    return tuple(round(255 * c) for c in (*_rgb(color), alpha))


def _create_text_labels(
    classes: Sequence[int] | None,
    scores: Sequence[float] | None,
    class_names: Sequence[str] | None,
    is_crowd: Sequence[int] | None = None,
) -> list[str] | None:
    """One text for each object: class name or number, score in percent, ``|crowd``.

    A class has its number where there are no names, or no font has the letters of its name.
    """
    labels = None
    if classes is not None:
        named = [bool(class_names) and is_drawable(class_names[c]) for c in classes]
        labels = [class_names[c] if k else str(c) for c, k in zip(classes, named, strict=True)]
    if scores is not None:
        percent = [f"{float(score) * 100:.0f}%" for score in scores]
        labels = (
            percent
            if labels is None
            else [f"{a} {b}" for a, b in zip(labels, percent, strict=True)]
        )
    if labels is not None and is_crowd is not None:
        labels = [f"{a}|crowd" if crowd else a for a, crowd in zip(labels, is_crowd, strict=True)]
    return labels


class VisImage:
    """An image being drawn on.

    Args:
        img: RGB (H, W, 3) in 0..255.
        scale: size of the drawing relative to `img`; pixels are repeated, not smoothed.

    Attributes:
        canvas: the drawing, a PIL image.
        width, height: size of `img`.
    """

    # Upstream draws by matplotlib.
    ax = uncovered("VisImage.ax")
    fig = uncovered("VisImage.fig")

    def __init__(self, img: np.ndarray, scale: float = 1.0):
        self.scale = scale
        self.reset_image(img)

    def reset_image(self, img: np.ndarray) -> None:
        """Start again on another image; what was drawn is lost."""
        self.img = img
        self.height, self.width = img.shape[:2]
        canvas = Image.fromarray(np.ascontiguousarray(np.asarray(img).clip(0, 255), dtype=np.uint8))
        # The margin keeps e.g. 10 * 0.7 = 6.999... at 7.
        size = (int(self.width * self.scale + 1e-2), int(self.height * self.scale + 1e-2))
        resample = Image.NEAREST if self.scale >= 1 else Image.BOX
        self.canvas = canvas if size == canvas.size else canvas.resize(size, resample)
        self.draw = ImageDraw.Draw(self.canvas, "RGBA")  # blends translucent colours

    def save(self, filepath: str) -> None:
        """Write the drawing; the format is that of the file's ending."""
        self.canvas.save(filepath)

    def get_image(self) -> np.ndarray:
        """The drawing as uint8 RGB (H * scale, W * scale, 3)."""
        return np.array(self.canvas)


class Visualizer:
    """Draws on an image; each method returns the VisImage `output`, which all of them draw on.

    Args:
        img_rgb: RGB (H, W, 3) in 0..255.
        metadata: of the data set: `thing_classes`, `thing_colors`.
        scale: size of the drawing relative to the image.
        instance_mode: how instances are coloured.
        font_size_scale: factor on every font size.
    """

    def __init__(
        self,
        img_rgb: np.ndarray,
        metadata: Metadata | None = None,
        scale: float = 1.0,
        instance_mode: ColorMode = ColorMode.IMAGE,
        font_size_scale: float = 1.0,
    ):
        self.img = np.asarray(img_rgb).clip(0, 255).astype(np.uint8)
        self.metadata = MetadataCatalog.get("__nonexist__") if metadata is None else metadata
        self.output = VisImage(self.img, scale=scale)
        # In points: grows with the image, and stays readable on a small one.
        side = math.sqrt(self.output.height * self.output.width)
        self._default_font_size = max(side // 90, 10 // scale) * font_size_scale
        self._instance_mode = instance_mode
        self._random = np.random.default_rng(0)

    # For masks, keypoints and rotated boxes.
    draw_and_connect_keypoints = uncovered("Visualizer.draw_and_connect_keypoints")
    draw_binary_mask = uncovered("Visualizer.draw_binary_mask")
    draw_panoptic_seg = uncovered("Visualizer.draw_panoptic_seg")
    draw_panoptic_seg_predictions = uncovered("Visualizer.draw_panoptic_seg_predictions")
    draw_polygon = uncovered("Visualizer.draw_polygon")
    draw_rotated_box_with_label = uncovered("Visualizer.draw_rotated_box_with_label")
    draw_sem_seg = uncovered("Visualizer.draw_sem_seg")
    draw_soft_mask = uncovered("Visualizer.draw_soft_mask")
    overlay_rotated_instances = uncovered("Visualizer.overlay_rotated_instances")

    def draw_instance_predictions(self, predictions: Instances, jittering: bool = True) -> VisImage:
        """Draw what a detector returned for this image.

        Args:
            predictions: with any of `pred_boxes`, `scores`, `pred_classes`; masks and keypoints
                are not drawn.
            jittering: vary the classes' colours, so that neighbours of one class differ.
        """
        boxes = predictions.pred_boxes if predictions.has("pred_boxes") else None
        scores = predictions.scores.tolist() if predictions.has("scores") else None
        classes = predictions.pred_classes.tolist() if predictions.has("pred_classes") else None
        labels = _create_text_labels(classes, scores, self.metadata.get("thing_classes"))
        if self._instance_mode == ColorMode.IMAGE_BW:
            self.output.reset_image(self._create_grayscale_image())
        colors = self._class_colors(classes, jittering)
        return self.overlay_instances(
            boxes=boxes, labels=labels, assigned_colors=colors, alpha=LINE_ALPHA
        )

    def draw_dataset_dict(self, dic: dict) -> VisImage:
        """Draw the annotations of a dataset dict; masks and keypoints are left out."""
        annotations = dic.get("annotations")
        if not annotations:
            return self.output
        if any(len(a["bbox"]) == 5 for a in annotations):
            needs_upstream("Visualizer.draw_dataset_dict of rotated boxes")
        boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
        classes = [a["category_id"] for a in annotations]
        labels = _create_text_labels(
            classes,
            None,
            self.metadata.get("thing_classes"),
            [a.get("iscrowd", 0) for a in annotations],
        )
        colors = self._class_colors(classes, jittering=True)
        return self.overlay_instances(
            boxes=boxes, labels=labels, assigned_colors=colors, alpha=LINE_ALPHA
        )

    def overlay_instances(
        self,
        *,
        boxes: Boxes | torch.Tensor | np.ndarray | Sequence | None = None,
        labels: Sequence[str] | None = None,
        masks: Any = None,
        keypoints: Any = None,
        assigned_colors: Sequence[Color] | None = None,
        alpha: float = 0.5,
    ) -> VisImage:
        """Draw boxes with their labels, large ones first.

        Args:
            boxes: N boxes, XYXY.
            labels: N texts.
            masks, keypoints: need upstream.
            assigned_colors: N colours; None chooses them.
            alpha: opacity of the boxes.
        """
        for name, value in (("masks", masks), ("keypoints", keypoints)):
            if value is not None:
                needs_upstream(f"Visualizer.overlay_instances({name})")
        if boxes is None or len(boxes) == 0:
            return self.output
        boxes = self._convert_boxes(boxes)
        for name, value in (("labels", labels), ("assigned_colors", assigned_colors)):
            if value is not None and len(value) != len(boxes):
                raise ValueError(f"{len(boxes)} boxes, but {len(value)} {name}")
        palette = colormap(rgb=True, maximum=1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        for i in np.argsort(-areas, kind="stable"):
            color = palette[i % len(palette)] if assigned_colors is None else assigned_colors[i]
            self.draw_box(boxes[i], alpha=alpha, edge_color=color)
            if labels is not None:
                self._draw_label(labels[i], boxes[i], color)
        return self.output

    def _draw_label(self, text: str, box: np.ndarray, color: Color) -> None:
        """In the box's upper left corner; below a small one, or right of it at the lower border."""
        x0, y0, x1, y1 = box.tolist()
        position = (x0, y0)
        small = (y1 - y0) * (x1 - x0) < SMALL_AREA * self.output.scale
        if small or y1 - y0 < SMALL_HEIGHT * self.output.scale:
            position = (x1, y0) if y1 >= self.output.height - 5 else (x0, y1)
        height_share = (y1 - y0) / math.sqrt(self.output.height * self.output.width)
        growth = np.clip((height_share - 0.02) / 0.08 + 1, 1.2, 2.0)
        smallest = SMALLEST_LABEL / PIXELS_PER_POINT / self.output.scale
        self.draw_text(
            text,
            position,
            color=self._change_color_brightness(color, 0.7),
            horizontal_alignment="left",
            font_size=max(0.5 * growth * self._default_font_size, smallest),
        )

    def draw_text(
        self,
        text: str,
        position: tuple[float, float],
        *,
        font_size: float | None = None,
        color: Color = "g",
        horizontal_alignment: str = "center",
        rotation: float = 0,
    ) -> VisImage:
        """Write on a dark ground; moved so that it stays inside the image.

        Args:
            text: one line or several.
            position: (x, y) of the upper edge; of its left end, middle or right end.
            font_size: points at 100 dots an inch; None chooses it by the image's size.
            color: lightened where it would be too dark to read.
            horizontal_alignment: "left", "center" or "right".
            rotation: degrees, counter-clockwise.
        """
        shift = {"left": 0.0, "center": 0.5, "right": 1.0}.get(horizontal_alignment)
        if shift is None:
            raise ValueError(
                f"horizontal_alignment must be left, center or right, got {horizontal_alignment!r}"
            )
        size = self._default_font_size if font_size is None else font_size
        font = font_for(text, max(1, round(size * PIXELS_PER_POINT * self.output.scale)))
        x0, y0, x1, y1 = self.output.draw.multiline_textbbox((0, 0), text, font=font)
        margin = max(1, font.size // 8)
        tile = Image.new(
            "RGBA", (math.ceil(x1 - x0) + 2 * margin, math.ceil(y1 - y0) + 2 * margin), "#000000cc"
        )
        light = np.maximum(_rgb(color), 0.4)
        light[light.argmax()] = max(0.8, light.max())
        ImageDraw.Draw(tile).multiline_text(
            (margin - x0, margin - y0), text, font=font, fill=_rgba255(light, 1.0)
        )
        if rotation:
            tile = tile.rotate(rotation, expand=True, resample=Image.BICUBIC)
        canvas = self.output.canvas
        corner = np.array(position) * self.output.scale - [shift * tile.width, 0]
        room = np.maximum(np.subtract(canvas.size, tile.size), 0)
        canvas.paste(tile, tuple(corner.round().clip(0, room).astype(int).tolist()), tile)
        return self.output

    def draw_box(
        self,
        box_coord: Sequence[float] | np.ndarray,
        alpha: float = 0.5,
        edge_color: Color = "g",
        line_style: str = "-",
    ) -> VisImage:
        """Draw one box.

        Args:
            box_coord: x0, y0, x1, y1.
            alpha: opacity.
            edge_color: of the line.
            line_style: "-" or "--".
        """
        x0, y0, x1, y1 = (float(v) for v in box_coord)
        if line_style == "-":
            width = self._pixels(self._line_width(4))
            # Pillow's lines grow inwards; half of this one lies outside, so tiny objects show.
            half, scale = width // 2, self.output.scale
            corners = (x0 * scale - half, y0 * scale - half, x1 * scale + half, y1 * scale + half)
            left, top, right, bottom = (round(v) for v in corners)
            self.output.draw.rectangle(
                (left, top, max(left, right - 1), max(top, bottom - 1)),
                outline=_rgba255(edge_color, alpha),
                width=width,
            )
            return self.output
        return self._draw_path(
            [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)],
            _rgba255(edge_color, alpha),
            line_style,
            self._line_width(4),
        )

    def draw_line(
        self,
        x_data: Sequence[float],
        y_data: Sequence[float],
        color: Color,
        linestyle: str = "-",
        linewidth: float | None = None,
    ) -> VisImage:
        """Draw a line through points.

        Args:
            x_data, y_data: coordinates of the points.
            color: of the line.
            linestyle: "-" or "--".
            linewidth: in points (100 dots an inch) of the image; None chooses it by its size.
        """
        points = [(float(x), float(y)) for x, y in zip(x_data, y_data, strict=True)]
        width = self._line_width(3) if linewidth is None else linewidth
        return self._draw_path(points, _rgba255(color, 1.0), linestyle, width)

    def draw_circle(
        self, circle_coord: Sequence[float], color: Color, radius: float = 3
    ) -> VisImage:
        """Draw a filled circle.

        Args:
            circle_coord: x, y of its centre.
            color: of its inside.
            radius: in pixels of the image.
        """
        x, y, r = (float(v) * self.output.scale for v in (*circle_coord, radius))
        self.output.draw.ellipse((x - r, y - r, x + r, y + r), fill=_rgba255(color, 1.0))
        return self.output

    def get_output(self) -> VisImage:
        """What has been drawn so far."""
        return self.output

    def _line_width(self, share: float) -> float:
        """In points: that share of the text's size, at least 1."""
        return max(self._default_font_size / share, 1.0)

    def _pixels(self, width: float) -> int:
        """Of the drawing, for a width in points."""
        return max(1, round(width * PIXELS_PER_POINT * self.output.scale))

    def _draw_path(
        self, points: list[tuple[float, float]], fill: tuple[int, ...], style: str, width: float
    ) -> VisImage:
        if style not in ("-", "--"):
            raise ValueError(f"line style must be '-' or '--', got {style!r}")
        scaled = np.array(points) * self.output.scale
        pixels = self._pixels(width)
        if style == "-":
            self.output.draw.line(scaled.flatten().tolist(), fill=fill, width=pixels, joint="curve")
            return self.output
        dash = 4.0 * pixels
        for start, end in itertools.pairwise(scaled):
            length = float(np.hypot(*(end - start)))
            for begin in np.arange(0.0, length, 2 * dash):
                ends = start + (end - start) / length * [[begin], [min(begin + dash, length)]]
                self.output.draw.line(ends.flatten().tolist(), fill=fill, width=pixels)
        return self.output

    def _class_colors(
        self, classes: Sequence[int] | None, jittering: bool
    ) -> list[np.ndarray] | None:
        """Colours by class where that is the mode and the metadata has them; else None."""
        colors = self.metadata.get("thing_colors")
        if self._instance_mode != ColorMode.SEGMENTATION or not colors or classes is None:
            return None
        chosen = [np.asarray(colors[c]) / 255 for c in classes]
        return [self._jitter(color) for color in chosen] if jittering else chosen

    def _jitter(self, color: Color) -> np.ndarray:
        return (np.array(_rgb(color)) + self._random.uniform(-0.2, 0.2, size=3)).clip(0, 1)

    def _create_grayscale_image(self) -> np.ndarray:
        gray = self.img.mean(axis=2, keepdims=True)
        return np.repeat(gray, 3, axis=2)

    @staticmethod
    def _change_color_brightness(color: Color, brightness_factor: float) -> tuple[float, ...]:
        """Multiply the lightness by 1 + `brightness_factor` (in [-1, 1]), up to white."""
        hue, lightness, saturation = colorsys.rgb_to_hls(*_rgb(color))
        lightness = min(max(lightness * (1 + brightness_factor), 0.0), 1.0)
        return colorsys.hls_to_rgb(hue, lightness, saturation)

    @staticmethod
    def _convert_boxes(boxes: Boxes | torch.Tensor | np.ndarray | Sequence) -> np.ndarray:
        """(N, 4) float64 of whatever holds boxes."""
        if isinstance(boxes, Boxes):
            boxes = boxes.tensor
        if isinstance(boxes, torch.Tensor):
            boxes = boxes.detach().cpu().numpy()
        array = np.asarray(boxes, dtype=float)
        if array.shape[-1] == 5:
            needs_upstream("drawing rotated boxes")
        return array.reshape(-1, 4)
