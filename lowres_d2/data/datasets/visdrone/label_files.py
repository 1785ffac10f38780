"""VisDrone's label files: a text file for each image, with a line for each object.

Zhu et al., "Vision Meets Drones: A Challenge" (arXiv 1804.07437); format as in the README of
github.com/VisDrone/VisDrone2018-DET-toolkit. A line is ``left,top,width,height,score,category,
truncation,occlusion`` in whole pixels. Score 0 marks what evaluation ignores, 1 everything else.
Category 0 is a region in which objects are not labelled, 11 any other vehicle.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.text_lines import read_labels

# Categories 1 to 10, which are scored.
VISDRONE_CLASSES = [
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus",
    "motor",
]  # fmt: skip

_NAMES = ["ignored regions", *VISDRONE_CLASSES, "others"]
_FIELDS = 8
_TRIED_FILES = 20  # of a folder: some images have no objects


class VisDroneObject(NamedTuple):
    """A line of a label file.

    Attributes:
        name: a class, "ignored regions" or "others".
        bbox: XYWH in pixels.
        counts: whether it is considered in evaluation.
    """

    name: str
    bbox: list[float]
    counts: bool


def read_visdrone_labels(path: str | Path) -> list[VisDroneObject]:
    """Read the objects of an image.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line is none of this format; names file and line.
    """
    expected = (
        "eight whole numbers with commas: left, top, width, height, score (0 or 1), category "
        "(0 to 11), truncation, occlusion"
    )
    return read_labels(path, _parse, "VisDrone", expected)


def is_visdrone_folder(folder: Path) -> bool:
    """Whether a folder has label files of VisDrone: the first line of the first that has one."""
    for path in islice(sorted(folder.glob("*.txt")), _TRIED_FILES):
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            line = file.readline(1000)
        if line.strip():
            return _parse(line) is not None
    return False


def _parse(line: str) -> VisDroneObject | None:
    # Lines of some files end with a comma.
    words = line.strip().removesuffix(",").split(",")
    try:
        values = [int(word) for word in words]
    except ValueError:
        return None
    if len(values) != _FIELDS or values[4] not in (0, 1) or not 0 <= values[5] < len(_NAMES):
        return None
    return VisDroneObject(_NAMES[values[5]], [float(v) for v in values[:4]], bool(values[4]))
