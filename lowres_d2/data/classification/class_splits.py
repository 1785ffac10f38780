"""Class folders in a folder of splits: ``train/cat``, ``val/cat``."""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.datasets.base import NoDataGivenError
from lowres_d2.data.folders.layout import one_each, split_folders


def class_root(
    root: str | Path | None, path: str | Path | None = None, evaluated: bool = False
) -> Path:
    """The folder of the class folders.

    Args:
        root: that folder itself.
        path: in its place, the folder that has those of the splits in it.
        evaluated: whether ``val`` is meant, or ``test`` where there is none; else ``train``.

    Raises:
        FileNotFoundError: there is no such folder, or none of that split.
        NoDataGivenError: neither is given.
        ValueError: both are given, or two folders are of one split.
    """
    if (root is None) == (path is None):
        raise (NoDataGivenError if root is None else ValueError)(
            "data: give data.path=FOLDER with train and val in it, or data.train_folder=FOLDER "
            "data.val_folder=FOLDER" + ("" if root is None else ", and not both")
        )
    if path is None:
        return Path(root).expanduser()
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; expected one with train and val in it")
    found = one_each(path, split_folders(path), "class folders", "give data.train_folder=FOLDER")
    for split in ("val", "test") if evaluated else ("train",):
        if split in found:
            return found[split]
    there = ", ".join(place.name for place in sorted(path.iterdir()) if place.is_dir()) or "none"
    raise FileNotFoundError(
        f"{path}: has no folder {'val or test' if evaluated else 'train'} with one for each class "
        f"(its folders: {there})"
    )
