"""Recognizes boxes that are not COCO's x, y, width, height, by how all of them lie in their images.

One box alone can be valid in several conventions, and all boxes of a file hardly can. Units: pixels
of the stored image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lowres_d2.data.datasets.json_values import is_finite

LEAST = 5  # least number of boxes from which their convention can be told
_SLACK = 1.0  # pixels: some tools count pixels from 1
# Shares of boxes beyond their images that do not occur where they are x, y, width, height.
_BEYOND_AS_CORNERS = 1 / 4
_BEYOND_AS_CENTRES = 1 / 50
# Fewer may lie at one side of their images by chance; of few boxes, half of them.
_LEAST_BEYOND = 10

FORMS = {
    "fractions": (
        "fractions of the image",
        "multiply them by the image's width and height",
    ),
    "corners": (
        "corners (x0, y0, x1, y1)",
        "convert them to x, y, width, height: as they are, objects would be learned far too large",
    ),
    "centres": (
        "centre and size (x, y of the centre, width, height)",
        "subtract half of width and height from x and y; if they are x, y, width, height, cut off "
        "what is beyond the images",
    ),
}


def box_form(boxes: Sequence[object], sizes: Sequence[tuple[int, int]]) -> str | None:
    """The key of :data:`FORMS` that all boxes of a file seem to have; None if they can be XYWH.

    Args:
        boxes: as found in the file.
        sizes: (height, width) of the image of each box.
    """
    four = all(isinstance(b, list) and len(b) == 4 and all(map(is_finite, b)) for b in boxes)
    if not four or len(boxes) < LEAST:
        return None
    if all(min(box) >= 0 and max(box) <= 1 for box in boxes):
        return "fractions"
    # From an edge on: beyond by rounding does not count.
    beyond = sum(
        x + w > width + _SLACK or y + h > height + _SLACK
        for (x, y, w, h), (height, width) in zip(boxes, sizes, strict=True)
    )
    if beyond > _BEYOND_AS_CORNERS * len(boxes) and (
        _all_fit(_as_corners, boxes, sizes)
        # As TensorFlow has them: y0, x0, y1, x1.
        or _all_fit(_as_corners, boxes, [(width, height) for height, width in sizes])
    ):
        return "corners"
    needed = max(min(_LEAST_BEYOND, len(boxes) / 2), _BEYOND_AS_CENTRES * len(boxes))
    return "centres" if beyond >= needed and _all_fit(_as_centre, boxes, sizes) else None


def _all_fit(
    fits: Callable[[Sequence[float], int, int], bool],
    boxes: Sequence[Sequence[float]],
    sizes: Sequence[tuple[int, int]],
) -> bool:
    return all(fits(box, *size) for box, size in zip(boxes, sizes, strict=True))


def _as_corners(box: Sequence[float], height: int, width: int) -> bool:
    return box[0] < box[2] <= width + _SLACK and box[1] < box[3] <= height + _SLACK


def _as_centre(box: Sequence[float], height: int, width: int) -> bool:
    x, y, w, h = box
    return all(
        w > 0 and h > 0 and low >= -_SLACK and high <= side + _SLACK
        for low, high, side in (
            (x - w / 2, x + w / 2, width),
            (y - h / 2, y + h / 2, height),
        )
    )
