"""The images of a split of YOLO, and the label file of each."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.datasets.image_folder import first_few
from lowres_d2.data.datasets.yolo import has_labels
from lowres_d2.data.folders.layout import relative, spellings
from lowres_d2.data.image import ENDINGS
from lowres_d2.data.text_lines import text_lines

LABELS = ".txt"
# Without numpy's arrays: beside images these are copies that YOLO's trainer keeps.
_ENDINGS = tuple(ending for ending in ENDINGS if ending != ".npy")

_LABELS_OF = {"images": "labels", "Images": "Labels", "IMAGES": "LABELS"}


class YoloImage(NamedTuple):
    """An image, its length and time of change, and its label file, which need not be there."""

    path: str
    stamp: tuple[int, int]
    labels: str


def split_images(places: Sequence[Path], root: Path) -> list[YoloImage]:
    """The images of a split, in the order of their names in each place.

    Args:
        places: folders, whose subfolders count, and text files with an image a line.
        root: folder of the data set.

    Raises:
        FileNotFoundError: an image is not there; of a label file in a folder, too.
        ValueError: there are no images, or two of them share a label file.
    """
    stamps: dict[str, tuple[int, int]] = {}
    for place in places:
        stamps |= _listed(place, root) if place.is_file() else _in_folder(place)
    if not stamps:
        names = ", ".join(relative(place, root) for place in places)
        raise ValueError(f"{root}: has no images in {names} ({' '.join(_ENDINGS)})")
    images = [YoloImage(path, stamp, label_file(path, root)) for path, stamp in stamps.items()]
    owner: dict[str, str] = {}
    for image in images:
        other = owner.setdefault(image.labels, image.path)
        if other != image.path:
            raise ValueError(
                f"{image.labels}: is the label file of two images, {other} and {image.path}: "
                "rename one with its labels, or remove one"
            )
    for place in places:
        if place.is_dir():
            _check_no_image_is_missing(place, root, owner)
    return images


def label_file(path: str, root: Path) -> str:
    """The label file of an image: in ``labels`` in place of ``images``, else beside it."""
    start = os.path.join(root, "")
    # Not the folders above the data set, one of which may be called images.
    head, inside = (start, path[len(start) :]) if path.startswith(start) else ("", path)
    parts = inside.split(os.sep)
    parts[-1] = os.path.splitext(parts[-1])[0] + LABELS
    for k in range(len(parts) - 2, -1, -1):
        if parts[k] in _LABELS_OF:
            parts[k] = _LABELS_OF[parts[k]]
            break
    return head + os.sep.join(parts)


def is_text(name: str) -> bool:
    """Whether a file may be meant as one of labels; its ending may be in capitals."""
    return name.lower().endswith(LABELS)


def _in_folder(folder: Path) -> dict[str, tuple[int, int]]:
    found = {
        entry.path: _stamp(entry)
        for entry in _files(str(folder))
        if entry.name.lower().endswith(_ENDINGS)
    }
    return dict(sorted(found.items()))


def _listed(file: Path, root: Path) -> dict[str, tuple[int, int]]:
    """Images of a list; relative ones are so to its folder, or to the data set's."""
    lines = text_lines(file, "an image a line")
    found = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        tried = [
            os.path.normpath(base / way) for way in spellings(name) for base in (file.parent, root)
        ]
        for path in tried:
            try:
                status = os.stat(path)
            except (OSError, ValueError):  # the latter: a null character
                continue
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait forever
                continue
            found[path] = (status.st_size, status.st_mtime_ns)
            break
        else:
            raise FileNotFoundError(
                f"{file}: line {number}: no such image {name!r} (looked for "
                f"{' and '.join(dict.fromkeys(tried))}): write where it is, relative to this file"
            )
    return found


def _files(folder: str) -> Iterator[os.DirEntry]:
    """Files of a folder and its subfolders, without hidden ones."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(entry.path)
            elif entry.is_file() or entry.is_symlink():  # reading a link that leads nowhere says so
                yield entry


def _stamp(entry: os.DirEntry) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere: reading it says so
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _check_no_image_is_missing(folder: Path, root: Path, owner: dict[str, str]) -> None:
    """Raise if label files of a folder's images have none, or have another ending."""
    labels = Path(label_file(str(folder / "x"), root)).parent
    if not labels.is_dir():
        return
    unowned = [
        entry.path
        for entry in _files(str(labels))
        if is_text(entry.name) and entry.path not in owner and has_labels(Path(entry.path))
    ]
    capital = next((path for path in unowned if not path.endswith(LABELS)), None)
    if capital is not None:
        raise ValueError(f"{capital}: label files have to end with {LABELS}: rename them")
    alone = sorted(os.path.relpath(path, labels) for path in unowned)
    if alone:
        raise FileNotFoundError(
            f"{labels}: {len(alone)} label files have no image in {folder}: {first_few(alone)}; "
            "complete the images, or remove these files"
        )
