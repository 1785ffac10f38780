"""Corner files: images of the annotations that are tiles of the image files.

Several images of such a file share a ``file_name``. ``corner`` says which part of that image each
of them is, ``width`` and ``height`` are the tile's, and boxes are relative to it. The data set's
own files have x0, y0, x1, y1 in ``corner``; its documentation says x, y, width, height. Both are
read: only one of them agrees with the sizes of all tiles of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lowres_d2.data.datasets.json_values import is_whole

Corner = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the image file


def checked_corners(path: Path, images: Mapping[int, dict]) -> dict[int, Corner]:
    """The part of its file that each image is, by its id; empty where they are whole images.

    Args:
        path: the file, for messages.
        images: entries by id, with ``width`` and ``height``.

    Raises:
        ValueError: a corner is missing, is not four whole numbers, or has another size than its
            image.
    """
    if not any("corner" in image for image in images.values()):
        return {}
    for image_id, image in images.items():
        corner = image.get("corner")
        whole = isinstance(corner, list) and len(corner) == 4 and all(map(is_whole, corner))
        if not whole or min(corner) < 0:
            raise ValueError(
                f"{path}: image {image_id} has corner {corner!r}; expected four whole pixels, "
                "x0, y0, x1, y1"
            )
    forms: tuple[Callable[[list[int]], Corner], ...] = (_as_corners, _as_box)
    for form in forms:
        corners = {image_id: form(image["corner"]) for image_id, image in images.items()}
        if all(_fits(corners[image_id], image) for image_id, image in images.items()):
            return corners
    image_id, image = next(
        (k, v) for k, v in images.items() if not _fits(_as_corners(v["corner"]), v)
    )
    raise ValueError(
        f"{path}: image {image_id} is {image['width']}x{image['height']}, which its corner "
        f"{image['corner']} (x0, y0, x1, y1) is not; correct one of them"
    )


def _as_corners(corner: list[int]) -> Corner:
    x0, y0, x1, y1 = corner
    return x0, y0, x1, y1


def _as_box(corner: list[int]) -> Corner:
    x, y, width, height = corner
    return x, y, x + width, y + height


def _fits(corner: Corner, image: dict) -> bool:
    x0, y0, x1, y1 = corner
    return (x1 - x0, y1 - y0) == (image["width"], image["height"])
