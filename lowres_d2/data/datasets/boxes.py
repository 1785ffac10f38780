"""Checks boxes of an annotation file, and clips them to their images.

Boxes are XYWH in pixels of the stored image.
"""

from __future__ import annotations

import logging
from pathlib import Path

from lowres_d2.data.datasets.box_forms import FORMS, box_form
from lowres_d2.data.datasets.json_values import is_finite

_logger = logging.getLogger(__name__)


def box_fault(bbox: object, height: int, width: int) -> str | None:
    """Why a box is invalid, or None. A box that is only partly outside its image is valid.

    Args:
        bbox: (x, y, width, height) as found in the file.
        height: height of the image.
        width: width of the image.
    """
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_finite, bbox)):
        return "is not four finite numbers"
    x, y, w, h = bbox
    if w < 0 or h < 0:
        return "has a negative side (expected x, y, width, height)"
    if w == 0 or h == 0:
        return "has no area"
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return f"lies outside the image of {width}x{height}"
    return None


def clip_box(bbox: list[float], height: int, width: int) -> list[float]:
    """The part of an XYWH box inside the image; the same list where it is inside already."""
    x, y, w, h = bbox
    if x >= 0 and y >= 0 and x + w <= width and y + h <= height:
        return bbox
    left, top = max(x, 0), max(y, 0)
    return [left, top, min(x + w, width) - left, min(y + h, height) - top]


class BoxPolicy:
    """Raises an error for the invalid boxes of one file, or skips and counts them.

    Args:
        path: the file, for messages.
        invalid_boxes: "error" raises at the first invalid box, "skip" leaves them out.
    """

    def __init__(self, path: Path, invalid_boxes: str) -> None:
        if invalid_boxes not in ("error", "skip"):
            raise ValueError(f"invalid_boxes={invalid_boxes!r}: expected 'error' or 'skip'")
        self.path = path
        self.stops = invalid_boxes == "error"
        self.num_skipped = 0
        self._seen: list[object] = []
        self._sizes: list[tuple[int, int]] = []
        self._clipped_by: list[float] = []

    def admit(self, bbox: object, image: dict, what: str) -> list[float] | None:
        """The box, clipped to its image, or None if it is skipped."""
        size = (image["height"], image["width"])
        self._seen.append(bbox)
        self._sizes.append(size)
        fault = box_fault(bbox, *size)
        if fault is None:
            clipped = clip_box(bbox, *size)
            if clipped is not bbox:
                self._clipped_by.append(_reach_beyond(bbox, *size))
            return clipped
        if self.stops:
            raise ValueError(
                f"{self.path}: {what} (image {image['file_name']}): box {bbox} {fault}; correct "
                'the file or set invalid_boxes="skip"'
            )
        self.num_skipped += 1
        return None

    def close(self) -> None:
        """After the last box: log the numbers of skipped and clipped boxes.

        Raises:
            ValueError: all boxes together look like another convention than XYWH in pixels.
        """
        form = box_form(self._seen, self._sizes)
        if form is not None:
            name, remedy = FORMS[form]
            raise ValueError(
                f"{self.path}: its {len(self._seen)} boxes look like {name} and not like x, y, "
                f"width, height in pixels (the first is {self._seen[0]}): {remedy}"
            )
        if self.num_skipped:
            _logger.warning("%s: %d invalid boxes skipped", self.path, self.num_skipped)
        far = [beyond for beyond in self._clipped_by if beyond > 1]
        if far:
            _logger.warning(
                "%s: %d of %d boxes reach beyond their images, by up to %g pixels: clipped for "
                "training, evaluated as they are (lowres-d2 validate names them)",
                self.path,
                len(far),
                len(self._seen),
                max(far),
            )
        if len(self._clipped_by) > len(far):
            number = len(self._clipped_by) - len(far)
            _logger.info("%s: %d boxes clipped by at most a pixel", self.path, number)


def _reach_beyond(bbox: list[float], height: int, width: int) -> float:
    x, y, w, h = bbox
    return max(-x, -y, x + w - width, y + h - height)
