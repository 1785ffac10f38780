"""CIFAR-100: 32x32 images of 100 classes, from the original files (python version).

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.classification.arrays import ImageArrays
from lowres_d2.data.classification.batch_files import find_folder, read_batches, read_names
from lowres_d2.data.classification.labelled import check_choice

_SPLITS = ["train", "test"]
_DOWNLOAD = "the files of cifar-100-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html)"


class Cifar100(ImageArrays):
    """CIFAR-100: 50,000 images for training, 10,000 for testing.

    Args:
        root: folder that has ``cifar-100-python``, or that folder.
        split: "train" or "test".
        coarse: the 20 superclasses in place of the 100 classes.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or of another data set or version.
    """

    def __init__(self, root: str | Path, split: str = "train", coarse: bool = False) -> None:
        check_choice("split", split, _SPLITS)
        folder = find_folder(root, "cifar-100-python", ["meta", split], _DOWNLOAD, _SPLITS)
        kind, number = ("coarse", 20) if coarse else ("fine", 100)
        images, labels = read_batches(
            [folder / split], "a file of CIFAR-100", f"{kind}_labels", range(number)
        )
        classes = read_names(folder / "meta", f"{kind}_label_names", number)
        super().__init__(images, labels, classes, f"{folder} ({split})")
