"""YOLO's ``data.yaml``: names of the classes, and where the images of each split are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lowres_d2.data.datasets.json_values import is_whole
from lowres_d2.data.folders.layout import spellings

import yaml

_SPLITS = ("train", "val", "test")
_SUFFIXES = (".yaml", ".yml")
_UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)  # what a broken file raises


class YoloYaml(NamedTuple):
    """The content of a ``data.yaml``.

    Attributes:
        file: the file.
        names: of the classes, by their numbers.
        splits: folders of images, or lists of images, of each split that is there.
        missing: splits that are not there, and why.
        root: folder of the data set.
        keypoints: numbers of keypoints behind the box in each row.
    """

    file: Path
    names: list[str]
    splits: dict[str, list[Path]]
    missing: dict[str, str]
    root: Path
    keypoints: int


def yolo_yamls(folder: Path) -> list[Path]:
    """The files of a folder that are a ``data.yaml``, by whatever name."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
    return [file for file in files if file.is_file() and _is_yolo(file)]


def _is_yolo(file: Path) -> bool:
    text = file.read_bytes()
    try:
        content = yaml.safe_load(text)
    except _UNREADABLE:  # reading it says what is wrong
        return b"train:" in text
    return isinstance(content, dict) and any(
        isinstance(content.get(split), str | list) for split in _SPLITS
    )


def read_yolo_yaml(file: Path) -> YoloYaml:
    """Read a ``data.yaml``.

    Raises:
        ValueError: it is none, or names no classes, or a split could be in two places.
    """
    try:
        text = file.read_bytes()
        content, root = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except _UNREADABLE as error:
        raise ValueError(f"{file}: is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected YOLO's keys path, train, val and names")
    names = _names(file, root, content.get("nc"))
    bases = [file.parent]
    given = content.get("path")
    if isinstance(given, str) and given:
        bases = [*(file.parent / Path(way).expanduser() for way in spellings(given)), *bases]
    splits, missing = {}, {}
    for split in _SPLITS:
        entries = content.get(split)
        if entries is None or entries == "" or entries == []:
            continue
        entries = [entries] if isinstance(entries, str) else entries
        if not isinstance(entries, list) or not all(isinstance(e, str) for e in entries):
            raise ValueError(
                f"{file}: {split} is {entries!r}; expected a folder or text file of images, or a "
                "list of these"
            )
        try:
            splits[split] = [_place(file, split, entry, bases) for entry in entries]
        except FileNotFoundError as error:
            missing[split] = str(error)
    root = next((base for base in bases if base.is_dir()), file.parent)
    return YoloYaml(file, names, splits, missing, root, _keypoints(file, content))


def _place(file: Path, split: str, entry: str, bases: list[Path]) -> Path:
    """The folder or list that an entry means."""
    tried = []
    for inner in spellings(entry):
        tried += [base / inner for base in bases]
        # Roboflow's files say ../train/images of a folder beside them.
        while inner.startswith("../"):
            inner = inner.removeprefix("../")
            tried.append(file.parent / inner)
    tried = [_plain(place) for place in tried]
    there = {place.resolve(): place for place in reversed(tried) if place.exists()}
    if len(there) > 1:
        places = ", ".join(map(str, sorted(there.values())))
        raise ValueError(
            f"{file}: {split}: {entry} could be any of {places}: give the one that is meant, or "
            "correct 'path' in this file"
        )
    if not there:
        raise FileNotFoundError(
            f"{file}: {split}: no such folder or file of images: {entry} (looked for "
            f"{', '.join(map(str, dict.fromkeys(tried)))}); write there where it is, relative to "
            "this file"
        )
    return next(iter(there.values()))


def _plain(place: Path) -> Path:
    """Without ``..``, which messages and names of files are easier to read without."""
    return Path(os.path.normpath(place))


def _names(file: Path, root: yaml.Node, number: Any) -> list[str]:
    """The names as they are written: a class may be called no, which YAML reads as false."""
    node = next((value for key, value in root.value if key.value == "names"), None)
    if isinstance(node, yaml.MappingNode):
        pairs = [(str(key.value), value) for key, value in node.value]
        keys = [key for key, _ in pairs]
        if sorted(keys) != sorted(map(str, range(len(pairs)))):
            raise ValueError(
                f"{file}: names are those of classes {', '.join(keys)}; expected 0 to "
                f"{len(pairs) - 1}, each once"
            )
        values = [value for _, value in sorted(pairs, key=lambda pair: int(pair[0]))]
    else:
        values = node.value if isinstance(node, yaml.SequenceNode) else []
    if not values or not all(isinstance(value, yaml.ScalarNode) for value in values):
        raise ValueError(
            f"{file}: has no names of classes; expected names: [cat, dog], in the order of their "
            "numbers"
        )
    names = [value.value.strip() for value in values]
    twice = next((name for name in names if names.count(name) > 1 or not name), None)
    if twice is not None:
        raise ValueError(f"{file}: names has {twice!r} twice; names must be unique, and not empty")
    if number is not None and str(number) != str(len(names)):
        raise ValueError(f"{file}: nc is {number}, but names has {len(names)} classes")
    return names


def _keypoints(file: Path, content: Mapping[str, Any]) -> int:
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    if not (isinstance(shape, list) and len(shape) == 2 and all(map(is_whole, shape))):
        raise ValueError(f"{file}: kpt_shape is {shape!r}; expected [points, 2] or [points, 3]")
    return shape[0] * shape[1]
