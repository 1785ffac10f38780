"""Street View House Numbers: 32x32 images of digits, from the original MATLAB files (format 2).

Netzer et al., "Reading digits in natural images with unsupervised feature learning", 2011.
"""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.classification.arrays import ImageArrays
from lowres_d2.data.classification.batch_files import AGAIN, find_folder
from lowres_d2.data.classification.labelled import check_choice, check_labels

import numpy as np
import torch

_SPLITS = ["train", "test", "extra"]
_TEN_IS_ZERO = 10  # the label of the digit 0
_SOURCE = "http://ufldl.stanford.edu/housenumbers"


class SVHN(ImageArrays):
    """SVHN's cropped digits: 73,257 images for training, 26,032 for testing; class k is digit k.

    Args:
        root: folder that has ``svhn``, or that folder.
        split: "train", "test" or "extra" (531,131 simpler images, a split of their own).

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is damaged or of another version, or has a label out of range.
    """

    def __init__(self, root: str | Path, split: str = "train") -> None:
        check_choice("split", split, _SPLITS)
        name = f"{split}_32x32.mat"
        others = [f"{other}_32x32.mat" for other in _SPLITS]
        path = find_folder(root, "svhn", [name], f"{name} of {_SOURCE}", others) / name
        pixels, labels = _read(path)
        # (height, width, channel, image) in the file.
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)))
        digits = [label % _TEN_IS_ZERO for label in labels]
        super().__init__(images, digits, [str(digit) for digit in range(10)], path)


def _read(path: Path) -> tuple[np.ndarray, list[int]]:
    from scipy.io import loadmat  # a quarter of a second, which other data sets need not wait for

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except NotImplementedError:
        raise ValueError(
            f"{path}: is a MATLAB 7.3 file (HDF5), expected the original one of {_SOURCE}, which "
            "is older; download that"
        ) from None
    except Exception as error:  # scipy can raise anything on a broken file
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(
            f"{path}: cannot be read as a MATLAB file ({first[:200]}); {AGAIN}"
        ) from error
    if "X" not in content or "y" not in content:
        raise ValueError(
            f"{path}: lacks X or y, the images and labels of SVHN's cropped digits (format 2); "
            f"get it from {_SOURCE}"
        )
    pixels, labels = content["X"], content["y"]
    for key, value in (("X", pixels), ("y", labels)):
        if not isinstance(value, np.ndarray):  # MATLAB has sparse arrays, too
            raise ValueError(
                f"{path}: {key} is a {type(value).__name__}, expected an array; get it from "
                f"{_SOURCE}"
            )
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3):
        raise ValueError(
            f"{path}: X is {pixels.dtype} of shape {pixels.shape}, expected uint8 of shape "
            "(32, 32, 3, N)"
        )
    if labels.size != pixels.shape[3]:
        raise ValueError(f"{path}: has {pixels.shape[3]} images, but {labels.size} labels; {AGAIN}")
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"{path}: y is of type {labels.dtype}, expected numbers; {AGAIN}")
    labels = labels.ravel().tolist()
    check_labels(labels, range(1, _TEN_IS_ZERO + 1), f"{path} (digit 0 is 10)")
    return pixels, labels
