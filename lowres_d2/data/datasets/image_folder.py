"""The folder of a data set's images: found beside the annotations, and checked to be complete."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

_logger = logging.getLogger(__name__)
_SHOWN_NAMES = 3
_GIVE = (
    "give their folder: --images of programs that take --annotations, data.train_images or "
    "data.val_images of recipes for own data, image_root of other data sets"
)
_TRIED_NAMES = 100  # enough to tell a folder that lacks some images from a wrong one


def checked_image_root(
    path: Path, names: Sequence[str], given: str | Path | None, check_images: bool
) -> Path:
    """As :func:`find_image_root`; a name that leads out of the folder is warned of.

    Args:
        path: as are ``names`` and ``given``, see :func:`find_image_root`.
        check_images: whether every image must be there.

    Raises:
        FileNotFoundError: images are missing.
        ValueError: several folders have the images, and nothing says which are meant.
    """
    root = find_image_root(path, names, given, check_images)
    if check_images:
        check_images_exist(path, root, names, "set image_root or complete the folder")
    _warn_of_images_outside(path, root, names)
    return root


def find_image_root(
    path: Path, names: Sequence[str], given: str | Path | None, check_images: bool
) -> Path:
    """The folder of the images: the given one, or the one beside the annotations that has them.

    Args:
        path: the annotation file or folder.
        names: image files, relative to the folder that is looked for.
        given: the user's choice; None: searched for in the folder of ``path`` and its parent
            folder, in ``images`` in these, and in a folder named after ``path`` (``val2017`` for
            ``instances_val2017.json``) in any of them.
        check_images: whether finding none is an error.

    Raises:
        FileNotFoundError: no folder has any of the images.
        ValueError: several folders have the images, and nothing says which are meant.
    """
    if given is not None:
        return Path(given)
    folder = path.parent
    stems = [path.stem, path.stem.removeprefix("instances_")]  # COCO: instances_val2017.json
    candidates = [folder, folder / "images", folder.parent, folder.parent / "images"]
    candidates += [place / stem for place in candidates for stem in stems]
    candidates = list(dict.fromkeys(candidates))
    tried = names[:_TRIED_NAMES]
    found = _fitting(candidates, tried)
    if found:
        root = next(iter(found))
        # A folder of the annotations' own, or one named after them, tells them from their siblings.
        if root != folder and root.name not in stems:
            found |= _fitting(_siblings(root, stems), tried)
        _check_only_one(path, [place for place, number in found.items() if number == found[root]])
        return root
    if check_images and names:
        raise FileNotFoundError(
            f"{path}: its {len(names)} images ({first_few(names)}) were not found; "
            f"{of_windows(names) or _GIVE} (looked in {', '.join(map(str, candidates))})"
        )
    return folder


def _fitting(folders: Sequence[Path], names: Sequence[str]) -> dict[Path, int]:
    """Number of images in each folder that has any, the folder with most of them first."""
    there = [folder for folder in folders if folder.is_dir()]
    numbers = {folder: sum(is_file(folder / name) for name in names) for folder in there}
    most_first = sorted(there, key=lambda folder: -numbers[folder])
    return {folder: numbers[folder] for folder in most_first if numbers[folder]}


def _siblings(root: Path, stems: Sequence[str]) -> list[Path]:
    """Folders beside ``root`` that by their name could be meant as well, such as ``images_val``."""
    words = ("image", "img", *(stem.lower() for stem in stems))
    return [
        place
        for place in sorted(root.parent.iterdir())
        if place != root and any(word in place.name.lower() for word in words)
    ]


def _check_only_one(path: Path, found: Sequence[Path]) -> None:
    different = {place.resolve(): place for place in reversed(found)}
    if len(different) > 1:
        places = ", ".join(map(str, sorted(different.values())))
        raise ValueError(f"{path}: several folders have its images ({places}); {_GIVE}")


def is_file(path: Path) -> bool:
    """Whether a file exists; False also for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # the latter: a null character
        return False


def check_images_exist(source: Path, root: Path, names: Sequence[str], remedy: str) -> None:
    """Raise an error if images are missing; each folder is listed once, which is fast for many.

    Args:
        source: file or folder that lists the images, for messages.
        root: folder of the images.
        names: image files, relative to ``root``.
        remedy: what the user can do, for messages.
    """
    if names and not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder, for the {len(names)} images of {source} "
            f"({first_few(names)}); {remedy}"
        )
    listed: dict[str, set[str]] = {}
    missing = []
    for name in names:
        folder, file = os.path.split(os.path.join(root, name))
        if folder not in listed:
            listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if file not in listed[folder]:
            missing.append(name)
    if missing:
        raise FileNotFoundError(
            f"{source}: {len(missing)} of {len(names)} images are not in {root}: "
            f"{first_few(missing)}; {of_windows(missing) or remedy}"
        )


def leaves_folder(name: str) -> bool:
    """Whether an image's name leads out of the folder that it is relative to."""
    # Not resolved: a symbolic link in the folder was put there by whoever owns it.
    return os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir


def _warn_of_images_outside(source: Path, root: Path, names: Sequence[str]) -> None:
    """Say where names lead out of the images' folder; such files are read all the same."""
    outside = [name for name in names if leaves_folder(name)]
    if outside:
        _logger.warning(
            "%s: file_name of %d of %d images leads out of their folder, %s (%s): the files there "
            "are read",
            source,
            len(outside),
            len(names),
            root,
            first_few(outside),
        )


def of_windows(names: Sequence[str]) -> str:
    """What to do about names of images that are not there, if they have Windows' separators."""
    return "write / in place of their \\" if any("\\" in name for name in names) else ""


def first_few(names: Sequence[str]) -> str:
    """The first names and the number of others, as text."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
