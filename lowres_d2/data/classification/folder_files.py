"""A folder of image files for each class, read when they are needed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.data.classification.class_splits import class_root
from lowres_d2.data.classification.labelled import LabelledImages
from lowres_d2.data.datasets.base import log_left_out
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.datasets.json_values import shortened
from lowres_d2.data.image import readable_endings

from detectron2.data import DatasetFromList

_logger = logging.getLogger(__name__)
_NUMPY = ".npy"


class ClassFolderFiles(LabelledImages):
    """Image files in one folder for each class, named after it, as ImageNet has them.

    An item has ``file_name``, ``image_id`` and ``label``, for ``ClassificationMapper``. Classes are
    in alphabetical order. Hidden files, files that are no images by their ending, and images beside
    the class folders or in folders below them are left out.

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
        known = dict(enumerate(folders))
        classes = [*select_classes(root, known, classes, may_lack_classes).values()]
        # Of all folders: those that are not used are said to be left out.
        found = {name: _Content.of(folder) for name, folder in folders.items()}
        file_names, labels = [], []
        for label, name in enumerate(classes):
            files = found[name].images if name in found else []
            file_names += map(str, files)
            labels += [label] * len(files)
        empty = [name for name in classes if name in found and not found[name].images]
        if empty and not may_lack_classes:
            raise ValueError(_empty(folders[empty[0]]))
        if empty:
            warn_of_no_images(root, empty)
        unused = {name: len(found[name].images) for name in folders if name not in classes}
        log_left_out(root, Counter(unused), "images")
        _warn_of_other_files(root, {folders[k]: found[k] for k in classes if k in found})
        super().__init__(labels, classes, root)
        # As one buffer, whose memory worker processes share.
        self._file_names = DatasetFromList(file_names, copy=False, serialize=True)

    def __getitem__(self, index: int) -> dict:
        item = super().__getitem__(index)
        return item | {"file_name": self._file_names[index % len(self)]}


def count_class_folders(
    root: str | Path | None,
    classes: Sequence[str] | None = None,
    path: str | Path | None = None,
) -> int:
    """Number of classes for ``num_classes`` of a recipe.

    Args:
        root: folder of the class folders; None: it is found in ``path``.
        classes: classes that are used; None: all.
        path: folder of the splits' folders, in place of ``root``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no class folders, or lacks one of the classes.
    """
    root = class_root(root, path)
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


@dataclass(frozen=True)
class _Content:
    """Files of a folder that are not hidden, in the order of their names.

    Attributes:
        images: image files, by their ending.
        others: other files.
        deeper: image files in folders below.
    """

    images: list[Path]
    others: list[Path]
    deeper: list[Path]

    @classmethod
    def of(cls, folder: Path) -> _Content:
        endings = {*readable_endings(), _NUMPY}
        images, others, deeper = [], [], []
        for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
            if path.is_file():
                (images if path.suffix.lower() in endings else others).append(path)
            elif path.is_dir():
                deeper += [p for p in sorted(path.rglob("*")) if p.suffix.lower() in endings]
        return cls(images, others, [path for path in deeper if not path.name.startswith(".")])


def _warn_of_other_files(root: Path, found: Mapping[Path, _Content]) -> None:
    """Say which files of the class folders and beside them are no images, or are not used."""
    for folder, content in found.items():
        if content.others:
            _logger.warning(
                "%s: %d files are no images by their ending, and left out: %s",
                folder,
                len(content.others),
                shortened((path.name for path in content.others), 3),
            )
    endings = {*readable_endings(), _NUMPY}
    beside = [
        path
        for path in sorted(root.iterdir())
        if path.is_file() and path.suffix.lower() in endings and not path.name.startswith(".")
    ]
    stray = beside + [path for content in found.values() for path in content.deeper]
    if stray:
        _logger.warning(
            "%s: %d images are left out, which are not in a class folder itself, but beside these "
            "or in folders below them: %s",
            root,
            len(stray),
            shortened((str(path.relative_to(root)) for path in stray), 3),
        )


def warn_of_no_images(root: str | Path, classes: Sequence[str]) -> None:
    """Say which classes of a test set have no images."""
    _logger.warning(
        "%s: has no images of class %s: nothing can be evaluated for it", root, shortened(classes)
    )


def _empty(folder: Path) -> str:
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if inside:
        return (
            f"{folder}: has no images, but folders ({shortened(inside, 5)}); if these are the "
            f"classes, give {folder}, not {folder.parent}"
        )
    return (
        f"{folder}: has no images; add some, remove the folder, or name the classes to use with "
        "data.classes=[...]"
    )
