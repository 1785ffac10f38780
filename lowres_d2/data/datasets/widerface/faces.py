"""WiderFace's annotation files: the images of a split with their faces.

Yang et al., "WIDER FACE: A Face Detection Benchmark" (CVPR 2016). Three forms are read:

- ``wider_face_val.mat``: cells by event and image, ``event_list``, ``file_list``,
  ``face_bbx_list`` (left, top, width, height) and ``invalid_label_list``;
- ``wider_face_val_bbx_gt.txt``: an image's path, the number of its faces, and a line for each:
  left, top, width, height, blur, expression, illumination, invalid, occlusion, pose. An image
  without faces has the number 0 and a line of zeros;
- the text of RetinaFace's repository: ``# path``, and a line for each face that begins with left,
  top, width, height.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.datasets.json_values import is_finite
from lowres_d2.data.datasets.widerface.mat_files import boxes_of, labels_of, read_cells
from lowres_d2.data.text_lines import text_lines

_INVALID = 7  # its place among the ten numbers of a line


class FaceImage(NamedTuple):
    """An image: its path with the event's folder, XYWH boxes, and which of these are invalid."""

    name: str
    boxes: list[list[float]]
    invalid: list[bool]


def read_wider_faces(path: str | Path) -> list[FaceImage]:
    """Read the faces of a split; boxes are as in the file, without that of an image without faces.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has none of the three forms; names file and line or image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such annotation file; give WiderFace's, a .mat or text file "
            "(datasets/README.md has the layouts)"
        )
    images = _of_mat(path) if path.suffix.lower() == ".mat" else _of_text(path)
    if not images:
        raise ValueError(f"{path}: has no images; expected those of a split of WiderFace")
    return images


def is_wider_file(path: Path) -> bool:
    """Whether a file is one of WiderFace: MATLAB's, or a text that begins with an image's path."""
    if path.suffix.lower() == ".mat":
        return True
    if path.suffix.lower() != ".txt" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(1000).strip().lower()
    return "/" in first and first.endswith(".jpg")


def _of_mat(path: Path) -> list[FaceImage]:
    images = []
    for name, cells in read_cells(path, ("face_bbx_list", "invalid_label_list")):
        boxes = boxes_of(path, name, cells["face_bbx_list"])
        invalid = labels_of(path, name, cells["invalid_label_list"], len(boxes))
        images.append(_image(f"{name}.jpg", boxes, [bool(v) for v in invalid]))
    return images


def _of_text(path: Path) -> list[FaceImage]:
    lines = text_lines(path, "WiderFace's faces")
    numbered = [(k, line.strip()) for k, line in enumerate(lines, start=1) if line.strip()]
    if numbered and numbered[0][1].startswith("#"):
        return [*_marked(path, numbered)]
    return [*_counted(path, numbered)]


def _counted(path: Path, numbered: Sequence[tuple[int, str]]) -> Iterator[FaceImage]:
    """Images whose number of faces is stated, as in the data set's own text files."""
    rest = iter(numbered)
    for number, name in rest:
        if "/" not in name:
            raise _fault(path, number, name, "the path of an image, like 0--Parade/0_Parade_1.jpg")
        at, text = next(rest, (number + 1, ""))
        if not text.isdecimal():
            raise _fault(path, at, text, f"the number of faces of {name}")
        faces = list(islice(rest, max(1, int(text))))
        if len(faces) < max(1, int(text)):
            raise ValueError(
                f"{path}: ends within the {text} faces of {name}; the file seems to be cut off"
            )
        rows = [_numbers(path, *face, least=10) for face in faces]
        yield _image(name, [row[:4] for row in rows], [bool(row[_INVALID]) for row in rows])


def _marked(path: Path, numbered: Sequence[tuple[int, str]]) -> Iterator[FaceImage]:
    """Images whose names begin with a mark, as in the text of RetinaFace's repository."""
    name, boxes = "", []
    for number, line in numbered:
        if line.startswith("#"):
            if name:
                yield _image(name, boxes, [False] * len(boxes))
            name, boxes = line.removeprefix("#").strip(), []
            if "/" not in name:
                raise _fault(path, number, line, "# and the path of an image")
        else:
            boxes.append(_numbers(path, number, line, least=4)[:4])
    yield _image(name, boxes, [False] * len(boxes))


def _image(name: str, boxes: list[list[float]], invalid: list[bool]) -> FaceImage:
    # How the files say that an image has no face.
    if len(boxes) == 1 and not any(boxes[0]):
        return FaceImage(name, [], [])
    return FaceImage(name, boxes, invalid)


def _numbers(path: Path, number: int, line: str, least: int) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) < least or not all(map(is_finite, values)):
        raise _fault(path, number, line, f"{least} numbers: left, top, width, height ... of a face")
    return values


def _fault(path: Path, number: int, line: str, expected: str) -> ValueError:
    return ValueError(f"{path}: line {number} is {line[:80]!r}; expected {expected}")
