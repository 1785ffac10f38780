"""Recognizes YOLO's format where another is expected, so that an error can say how it is read."""

from __future__ import annotations

from pathlib import Path

_MARKS = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names", "obj.data")


def check_not_yolo(path: Path) -> None:
    """Raise an error that names the way on where a path is YOLO's: a folder, yaml or label file."""
    if _is_yolo(path):
        raise ValueError(
            f"{path}: looks like YOLO's format, which is read by folder: data.path=FOLDER in "
            "recipes for own data, --path FOLDER in lowres-d2 validate"
        )


def _is_yolo(path: Path) -> bool:
    if path.suffix.lower() in (".yaml", ".yml"):
        return True
    if path.suffix.lower() == ".txt":
        return path.is_file() and has_labels(path)
    if not path.is_dir():
        return False
    if any((path / mark).is_file() for mark in _MARKS):
        return True
    folders = (path, path / "labels", path / "labels" / "train", path / "train" / "labels")
    return any(has_labels(file) for folder in folders for file in _first_texts(folder))


def _first_texts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.txt"))[:3]


def has_labels(path: Path) -> bool:
    """Whether the first line of a file is a class's number and coordinates between 0 and 1."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            words = file.readline(1000).split()
        values = [float(word) for word in words]
    except (OSError, ValueError):
        return False
    return len(values) >= 5 and words[0].isdecimal() and all(0 <= v <= 1 for v in values[1:])
