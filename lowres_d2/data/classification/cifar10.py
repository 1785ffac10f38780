"""CIFAR-10: 32x32 images of ten classes, from the original files (python version).

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.classification.arrays import ImageArrays
from lowres_d2.data.classification.batch_files import find_folder, read_batches, read_names
from lowres_d2.data.classification.labelled import check_choice

_FILES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}
_NAMES = "batches.meta"
_DOWNLOAD = "the files of cifar-10-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html)"


class Cifar10(ImageArrays):
    """CIFAR-10: 50,000 images for training, 10,000 for testing.

    Args:
        root: folder that has ``cifar-10-batches-py``, or that folder.
        split: "train" or "test".

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or of another data set or version.
    """

    def __init__(self, root: str | Path, split: str = "train") -> None:
        check_choice("split", split, [*_FILES])
        files = [_NAMES, *_FILES[split]]
        others = [name for names in _FILES.values() for name in names]
        folder = find_folder(root, "cifar-10-batches-py", files, _DOWNLOAD, others)
        paths = [folder / name for name in _FILES[split]]
        images, labels = read_batches(paths, "a batch of CIFAR-10", "labels", range(10))
        classes = read_names(folder / _NAMES, "label_names", 10)
        super().__init__(images, labels, classes, f"{folder} ({split})")
