"""A folder of image files for each class, read when they are needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.classification.labelled import LabelledImages
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.datasets.json_values import shortened

from detectron2.data import DatasetFromList
from PIL import Image

_logger = logging.getLogger(__name__)
_NUMPY = ".npy"


class ClassFolderFiles(LabelledImages):
    """Image files in one folder for each class, named after it, as ImageNet has them.

    An item has ``file_name``, ``image_id`` and ``label``, for ``ClassificationMapper``. Classes are
    in alphabetical order. Hidden files and files that are no images by their ending are left out.

    Args:
        root: folder of the class folders.
        classes: classes to use, in this order; None: all.
        may_lack_classes: whether some of ``classes`` may have no images, as a test set.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no class folders, or one has no images or is not there.
    """

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str] | None = None,
        may_lack_classes: bool = False,
    ) -> None:
        root = Path(root).expanduser()
        folders = _class_folders(root)
        if classes is not None:
            found = dict(enumerate(folders))
            classes = [*select_classes(root, found, classes, may_lack_classes).values()]
        file_names, labels = [], []
        for label, name in enumerate(folders if classes is None else classes):
            files = _image_files(folders[name]) if name in folders else []
            if not files and name in folders and not may_lack_classes:
                raise ValueError(_empty(folders[name]))
            file_names += files
            labels += [label] * len(files)
        super().__init__(labels, folders if classes is None else classes, root)
        # As one buffer, whose memory worker processes share.
        self._file_names = DatasetFromList(file_names, copy=False, serialize=True)

    def __getitem__(self, index: int) -> dict:
        item = super().__getitem__(index)
        return item | {"file_name": self._file_names[index % len(self)]}


def count_class_folders(root: str | Path, classes: Sequence[str] | None = None) -> int:
    """Number of classes for ``num_classes`` of a recipe.

    Args:
        root: folder of the class folders.
        classes: classes that are used; None: all.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no class folders, or lacks one of the classes.
    """
    root = Path(root).expanduser()
    return len(select_classes(root, dict(enumerate(_class_folders(root))), classes))


def _class_folders(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder; expected one with a folder for each class"
        )
    found = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not found:
        raise ValueError(f"{root}: has no folders; expected one for each class, named after it")
    return {path.name: path for path in sorted(found, key=lambda path: path.name)}


def _image_files(folder: Path) -> list[str]:
    endings = {*Image.registered_extensions(), _NUMPY}
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    images = [str(path) for path in files if path.suffix.lower() in endings]
    if len(images) < len(files):
        others = [path.name for path in files if path.suffix.lower() not in endings]
        _logger.warning(
            "%s: %d files are no images by their ending, and left out: %s",
            folder,
            len(others),
            shortened(others, 3),
        )
    return images


def _empty(folder: Path) -> str:
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if inside:
        return (
            f"{folder}: has no images, but folders ({shortened(inside, 5)}); if these are the "
            f"classes, give {folder}, not {folder.parent}"
        )
    return (
        f"{folder}: has no images; add some, remove the folder, or name the classes to use with "
        "classes=[...]"
    )
