"""ImageNet at 32x32, from the original batch files.

Chrabaszcz et al., "A downsampled variant of ImageNet as an alternative to the CIFAR datasets",
2017.
"""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.classification.arrays import ImageArrays
from lowres_d2.data.classification.batch_files import AGAIN, find_folder, read_batches
from lowres_d2.data.classification.labelled import check_choice

_FILES = {"train": [f"train_data_batch_{k}" for k in range(1, 11)], "val": ["val_data"]}
_NUMBER = 1000
_NAMES = "map_clsloc.txt"
_DOWNLOAD = "the files of Imagenet32_{split}.zip (https://image-net.org/download-images.php)"


class ImageNet32(ImageArrays):
    """ImageNet's 1000 classes: 1,281,167 images for training (3.9 GB in memory), 50,000 in val.

    Classes are named by ``map_clsloc.txt`` of the authors' scripts (lines such as "n02119789 1
    kit_fox") where it lies beside the batches, otherwise "1" to "1000", as the files count them.

    Args:
        root: folder that has ``imagenet32``, or that folder.
        split: "train" or "val".

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, of another data set or size, or has a label out of range.
    """

    def __init__(self, root: str | Path, split: str = "train") -> None:
        check_choice("split", split, [*_FILES])
        download = _DOWNLOAD.format(split=split)
        others = [name for names in _FILES.values() for name in names]
        folder = find_folder(root, "imagenet32", _FILES[split], download, others)
        paths = [folder / name for name in _FILES[split]]
        classes = _class_names(folder / _NAMES)
        images, labels = read_batches(
            paths, "a batch of ImageNet at 32x32", "labels", range(1, _NUMBER + 1)
        )
        super().__init__(images, labels, classes, f"{folder} ({split})")


def _class_names(path: Path) -> list[str]:
    numbers = [str(number) for number in range(1, _NUMBER + 1)]
    if not path.is_file():
        return numbers
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = [line.split() for line in lines if line.strip()]
    if not all(len(entry) == 3 for entry in entries) or sorted(e[1] for e in entries) != sorted(
        numbers
    ):
        raise ValueError(
            f"{path}: expected a line for each of {_NUMBER} classes, such as n02119789 1 kit_fox; "
            f"{AGAIN}, or remove it, and classes are called 1 to {_NUMBER}"
        )
    by_number = {number: (name, word_net_id) for word_net_id, number, name in entries}
    names = [name for name, _ in by_number.values()]
    # Some are called the same: a crane is a bird and a machine.
    return [
        name if names.count(name) == 1 else f"{name}_{word_net_id}"
        for name, word_net_id in (by_number[number] for number in numbers)
    ]
