"""A data set in a folder: which format it has, and which splits."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lowres_d2.data.datasets.base import BoxDataset

ALL = "all"  # the only split, where nothing says what the images are for
# What files and folders of each split are called.
_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
    "trainval": ("trainval",),
}


@dataclass(frozen=True)
class ReadRules:
    """How the images and objects of a split are read.

    Attributes:
        classes: as in ``CocoDataset``.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
        may_lack_classes: as in ``CocoDataset``.
        cache: folder for sizes of images, where no file has them; None: they are read every time.
    """

    classes: list[str] | None = None
    invalid_boxes: str = "error"
    may_lack_classes: bool = False
    cache: str | None = None


@dataclass(frozen=True)
class FolderData(ABC):
    """A data set in a folder.

    Attributes:
        path: the folder, or the file in it that was given.
        marks: what it was recognised by, for messages.
        splits: what each split is read from, the one to train on first.
        missing: splits that the data set names, but that are not there, and why.
        unused: what looks like the data set's, but is of no split.
        form: name of the format.
    """

    path: Path
    marks: str
    splits: Mapping[str, Any]
    missing: Mapping[str, str] = field(default_factory=dict)
    unused: Sequence[str] = ()
    form: ClassVar[str]

    @abstractmethod
    def dataset(self, split: str, rules: ReadRules) -> BoxDataset:
        """The images of a split, one of :attr:`splits`, checked."""

    @abstractmethod
    def class_names(self, split: str, classes: list[str] | None) -> list[str]:
        """Names of the classes of a split, in the order of their labels.

        Args:
            split: one of :attr:`splits`.
            classes: as in ``CocoDataset``.
        """

    def __str__(self) -> str:
        return f"{self.path}: {self.form} ({self.marks})"

    def described(self) -> str:
        """The names of its splits, and what is not used, as text."""
        gone = "".join(f"; {name} is not there" for name in self.missing)
        unused = f"; not used: {', '.join(self.unused)}" if self.unused else ""
        return f"splits {', '.join(self.splits)}{gone}{unused}"


def split_of(name: str) -> str | None:
    """The split that a name speaks of, by one of its words; None: of none, or of several.

    ``instances_val2017`` is of ``val``, ``minitrain`` of none.
    """
    words = set(re.findall(r"[a-z]+", name.lower()))
    found = [split for split, known in _WORDS.items() if words & {*known}]
    return found[0] if len(found) == 1 else None


def split_folders(path: Path) -> Iterator[tuple[str, Path]]:
    """The folders in a folder that are called after a split, such as ``valid`` or ``train2017``."""
    for place in sorted(path.iterdir()):
        name = re.sub(r"[\W\d_]+", "", place.name.lower())
        split = next((split for split, known in _WORDS.items() if name in known), None)
        if split and place.is_dir():
            yield split, place


def one_each(
    path: Path, found: Iterable[tuple[str, Path]], form: str, remedy: str
) -> dict[str, Path]:
    """The only candidate of each split, in the order in which splits are used.

    Args:
        path: the folder, for messages.
        found: splits, and what they could be read from.
        form: the format, for messages.
        remedy: what to do where there are two.

    Raises:
        ValueError: a split has two candidates.
    """
    candidates: dict[str, list[Path]] = {}
    for split, place in found:
        candidates.setdefault(split, []).append(place)
    for split, places in candidates.items():
        if len(places) > 1:
            names = ", ".join(relative(place, path) for place in places)
            raise ValueError(
                f"{path}: {form}: {len(places)} candidates for the split '{split}': {names}; "
                f"{remedy}"
            )
    order = [*_WORDS, ALL]
    ordered = sorted(candidates.items(), key=lambda pair: order.index(pair[0]))
    return {split: places[0] for split, places in ordered}


def relative(place: Path, path: Path) -> str:
    """Name of a place in a folder, for messages; ``.`` is the folder itself."""
    return place.relative_to(path).as_posix() if place.is_relative_to(path) else str(place)


def spellings(name: str) -> list[str]:
    """A path as it is written, and with Windows' separators as they are here."""
    return [*dict.fromkeys([name, name.replace("\\", "/")])]


Finder = Callable[[Path], FolderData | None]
