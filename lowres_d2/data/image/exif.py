"""Whether annotations follow EXIF's rotation of their image.

Sizes are (height, width).
"""

from __future__ import annotations

from collections.abc import Sequence


def exif_fault(
    exif: str, orientation: int, size: Sequence[int], stated: Sequence[int], boxes: bool
) -> str | None:
    """What is wrong with an image that EXIF rotates or mirrors; None: nothing.

    Args:
        exif: as in :class:`lowres_d2.data.image.ImageReader`.
        orientation: the file's, 2 to 8.
        size: of the image as it was read.
        stated: by the annotations.
        boxes: whether the image has boxes.
    """
    size, stated = tuple(size), tuple(stated)
    other = size[::-1] if orientation >= 5 else size
    turns = f"EXIF rotates it (orientation {orientation})"
    as_read, else_read = "as rotated", "as stored"
    if exif == "ignore":
        as_read, else_read = else_read, as_read
    if size == stated:
        if other != stated or exif != "check" or not boxes:
            return None
        return (
            f"{turns}, and its size does not tell whether its boxes follow: look at them, then set "
            'the mapper\'s exif to "apply" (they fit the rotated image) or "ignore" (they fit the '
            "image as stored)"
        )
    if other != stated:
        return None  # another size altogether
    wanted = "apply" if exif == "ignore" else "ignore"
    return (
        f"{turns}: it was read {as_read}, {_text(size)}, and its annotations fit it {else_read}, "
        f'{_text(stated)}: set the mapper\'s exif="{wanted}", or annotate the image {as_read}'
    )


def _text(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]}"
