"""Recognises YOLO's format in a folder: ``data.yaml``, or label files with ``classes.txt``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.datasets.yolo import has_labels
from lowres_d2.data.folders.layout import (
    ALL,
    FolderData,
    ReadRules,
    one_each,
    relative,
    split_folders,
)
from lowres_d2.data.folders.yolo.dataset import YoloDataset
from lowres_d2.data.folders.yolo.images import is_text
from lowres_d2.data.folders.yolo.yaml_file import YoloYaml, read_yolo_yaml, yolo_yamls
from lowres_d2.data.image import ENDINGS

PLACES = "data.yaml, or labels/*.txt with classes.txt"
CLASSES = "classes.txt"
_TRIED_FILES = 50  # of a folder, without empty ones: some texts are none of labels


@dataclass(frozen=True)
class YoloFolder(FolderData):
    """A folder in YOLO's format; its splits are folders of images and lists of images.

    Attributes:
        names: of the classes, by their numbers.
        root: folder that messages name.
        keypoints: numbers of keypoints in each row.
    """

    names: Sequence[str] = ()
    root: Path = Path()
    keypoints: int = 0
    form = "YOLO"

    def dataset(self, split: str, rules: ReadRules) -> BoxDataset:
        return YoloDataset(
            self.splits[split],
            self.names,
            self.root,
            self.keypoints,
            rules.classes,
            rules.invalid_boxes,
            rules.may_lack_classes,
            rules.cache,
        )

    def class_names(self, split: str, classes: list[str] | None) -> list[str]:
        return list(select_classes(self.path, dict(enumerate(self.names)), classes).values())


def find_yolo(path: Path) -> YoloFolder | None:
    """The data set of a folder, or of a ``data.yaml``; None: there is none in YOLO's format.

    Raises:
        ValueError: there are two, or nothing names the classes.
    """
    if path.is_file():
        return _of_yaml(path, read_yolo_yaml(path))
    yamls = yolo_yamls(path)
    if len(yamls) > 1:
        names = ", ".join(file.name for file in yamls)
        raise ValueError(
            f"{path}: YOLO: {len(yamls)} files describe a data set: {names}; say which with "
            f"data.path={yamls[0]}"
        )
    if yamls:
        return _of_yaml(path, read_yolo_yaml(yamls[0]))
    return _without_yaml(path)


def _of_yaml(path: Path, found: YoloYaml) -> YoloFolder:
    if not found.splits:
        raise FileNotFoundError(next(iter(found.missing.values()), f"{found.file}: has no splits"))
    return YoloFolder(
        path,
        found.file.name,
        found.splits,
        found.missing,
        names=found.names,
        root=found.root,
        keypoints=found.keypoints,
    )


def _without_yaml(path: Path) -> YoloFolder | None:
    found = [*_labelled(path)]
    if not found:
        return None
    splits = one_each(path, found, "YOLO", "write a data.yaml that says which one is meant")
    places = [path, path / "labels", *(place for _, place in found)]
    files = [place / CLASSES for place in dict.fromkeys(places) if (place / CLASSES).is_file()]
    marks = f"labels of {', '.join(relative(place, path) for place in splits.values())}"
    if not files:
        raise ValueError(
            f"{path}: has YOLO's labels ({marks}), but nothing names their classes: write a "
            f"data.yaml with train, val and names, or {CLASSES} with a name a line"
        )
    contents = {file.read_text(encoding="utf-8-sig", errors="replace") for file in files}
    if len(contents) > 1:
        raise ValueError(
            f"{path}: {', '.join(map(str, files))} name different classes; keep one of them"
        )
    names = [line.strip() for line in contents.pop().rstrip().splitlines()]
    # A line without a name would be a number, too.
    if not names or len({*names}) < len(names) or not all(names):
        raise ValueError(f"{files[0]}: expected a class's name in each line, each once")
    return YoloFolder(
        path,
        f"{marks}, {CLASSES}",
        {split: [place] for split, place in splits.items()},
        unused=_beside(path, splits.values()),
        names=names,
        root=path,
    )


def _beside(path: Path, places: Collection[Path]) -> list[str]:
    """Images beside the folders of the splits, which are of no split, for messages."""
    said = []
    for folder in (path, path / "images"):
        if folder.is_dir() and folder not in places:
            number = sum(file.suffix.lower() in ENDINGS for file in folder.iterdir())
            said += [f"{number} images in {relative(folder, path)}"] if number else []
    return said


def _labelled(path: Path) -> Iterator[tuple[str, Path]]:
    """Folders of images that have label files, and their splits."""
    images, labels = path / "images", path / "labels"
    if images.is_dir() and labels.is_dir():
        of_splits = [
            (split, place)
            for split, place in split_folders(images)
            if _any_labels(labels / place.name)
        ]
        yield from of_splits
        if not of_splits and _any_labels(labels):
            yield ALL, images
        return
    of_splits = [
        (split, place / "images" if (place / "images").is_dir() else place)
        for split, place in split_folders(path)
        if _any_labels(place / "labels") or _any_labels(place)
    ]
    yield from of_splits
    if not of_splits and _any_labels(path):
        yield ALL, path


def _any_labels(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    texts = (file for file in folder.iterdir() if is_text(file.name) and file.name != CLASSES)
    full = (file for file in texts if file.is_file() and file.stat().st_size)
    return any(map(has_labels, islice(full, _TRIED_FILES)))
