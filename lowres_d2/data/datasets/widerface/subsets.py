"""Which faces of the validation set are easy, medium and hard, as the benchmark's files say.

``wider_easy_val.mat`` and its like, of the benchmark's evaluation tools, have ``gt_list``: for each
image the numbers of the faces of a subset, from 1. Each subset has the faces of the easier ones,
too.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.datasets.widerface.mat_files import boxes_of, read_cells

import numpy as np

SUBSETS = ("easy", "medium", "hard")


class FaceSubset(NamedTuple):
    """A subset's part of an image: boxes of all faces (n, 4) XYWH, and which are of the subset."""

    boxes: np.ndarray
    chosen: np.ndarray


def read_wider_subsets(folder: str | Path) -> dict[str, dict[str, FaceSubset]]:
    """By subset and image's name (``event/file``, without ending) its faces.

    Args:
        folder: with ``wider_easy_val.mat``, ``wider_medium_val.mat`` and ``wider_hard_val.mat``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file has other content.
    """
    return {subset: _read(Path(folder) / f"wider_{subset}_val.mat") for subset in SUBSETS}


def _read(path: Path) -> dict[str, FaceSubset]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; expected the ground truth of WiderFace's evaluation tools "
            "(eval_tools/ground_truth), which says which faces are easy, medium and hard"
        )
    images = {}
    for name, cells in read_cells(path, ("face_bbx_list", "gt_list")):
        boxes = np.array(boxes_of(path, name, cells["face_bbx_list"])).reshape(-1, 4)
        chosen = np.zeros(len(boxes), dtype=bool)
        numbers = np.asarray(cells["gt_list"]).reshape(-1).astype(int)
        if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= len(boxes):
            raise ValueError(
                f"{path}: gt_list of {name} has numbers {numbers.min()} to {numbers.max()}; "
                f"expected 1 to {len(boxes)}, its faces"
            )
        chosen[numbers - 1] = True
        images[name] = FaceSubset(boxes, chosen)
    return images
