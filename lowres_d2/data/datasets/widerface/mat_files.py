"""WiderFace's MATLAB files: cells by event, in these by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_NAMES = ("event_list", "file_list")


def read_cells(path: Path, keys: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each image's name, as ``event/file``, and its part of the variables.

    Args:
        path: the file.
        keys: names of variables that are cells by event and image.

    Raises:
        ValueError: it is no MATLAB file, or has other content.
    """
    from scipy.io import loadmat  # a quarter of a second, which other data sets need not wait for

    try:
        content = loadmat(path, variable_names=[*_NAMES, *keys])
    except Exception as error:  # scipy can raise anything on a broken file
        raise ValueError(f"{path}: is no MATLAB file that can be read ({error})") from None
    missing = [key for key in (*_NAMES, *keys) if key not in content]
    if missing:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; expected a file of WiderFace, such as "
            "wider_face_val.mat"
        )
    try:
        for event, name in enumerate(content["event_list"][:, 0]):
            files = content["file_list"][event, 0]
            for k, file in enumerate(files[:, 0]):
                cells = {key: content[key][event, 0][k, 0] for key in keys}
                yield f"{name.item()}/{file.item()}", cells
    except (IndexError, AttributeError, ValueError, TypeError):
        raise ValueError(
            f"{path}: its cells are not those of WiderFace, by event and image"
        ) from None


def boxes_of(path: Path, name: str, cell: Any) -> list[list[float]]:
    """XYWH boxes of an image.

    Raises:
        ValueError: they are none.
    """
    found = np.asarray(cell)
    if found.size == 0:
        return []
    if found.ndim != 2 or found.shape[1] != 4 or found.dtype.kind not in "iuf":
        raise ValueError(f"{path}: face_bbx_list of {name} has no four numbers for each face")
    return found.astype(np.float64).tolist()


def labels_of(path: Path, name: str, cell: Any, number: int) -> list[int]:
    """Whole numbers of an image, one for each face.

    Raises:
        ValueError: they are of another number.
    """
    found = np.asarray(cell).reshape(-1)
    if len(found) != number or (number and found.dtype.kind not in "iu"):
        raise ValueError(f"{path}: {name} has {number} faces, but {len(found)} labels of them")
    return found.astype(int).tolist()
