"""Checks image files against their annotations."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.image_file import ImageFile, look_at
from lowres_d2.data.validation.split import Split

from PIL import Image

MISSING = Check(
    "image-missing",
    "error",
    "images that do not exist",
    "complete the folder, or give the right one",
)
BROKEN = Check(
    "image-broken",
    "error",
    "images that cannot be read",
    'replace them, or skip them with the mapper\'s on_broken="skip"',
)
CUT = Check(
    "image-cut",
    "warning",
    "images that are probably truncated (checked without decoding)",
    "run again without --no-decode to be sure",
)
OTHER_SIZE = Check(
    "image-size",
    "error",
    "images of another size than annotated",
    "correct the size, or scale the boxes if they were annotated at another size",
)
TURNED = Check(
    "image-turned",
    "error",
    "images that EXIF rotates, annotated without the rotation",
    "rotate the pixels and remove the EXIF tag, or annotate the rotated image: images are read "
    "as EXIF says",
)
EXIF = Check(
    "image-exif",
    "warning",
    "images with an EXIF orientation, whose size does not tell whether the boxes follow it",
    "look at their boxes; to be safe, rotate the pixels and remove the tag",
)
EXIF_FINE = Check(
    "image-exif-fine",
    "info",
    "images that EXIF rotates, annotated with the rotation",
    "fine here; programs that ignore EXIF see them unrotated",
)
DEPTH = Check(
    "image-depth",
    "warning",
    "images with more than 8 bits per channel",
    "values over 255 are clipped when they are read: convert them first",
)
FRAMES = Check(
    "image-frames",
    "warning",
    "files that hold several images",
    "only the first one is used: store each in its own file",
)
BLANK = Check("image-blank", "warning", "images of a single colour", "look at them")
SUFFIX = Check(
    "image-suffix",
    "info",
    "images whose file extension is another format's",
    "fine here; some programs go by the extension",
)

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")
Progress = Callable[[Iterable, int, str], Iterable]


def check_images(
    split: Split,
    findings: Findings,
    level: str = "draft",
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[int, ImageFile]:
    """Check every image file.

    Args:
        split: the split; nothing is done if it has no folder of images.
        findings: collects what is wrong.
        level: how far images are read, see :func:`look_at`.
        workers: number of threads; Pillow decodes without the GIL.
        progress: wraps an iterable, given its length and a description.

    Returns:
        What is known about the readable images, by image id.
    """
    if split.root is None:
        return {}
    images = list(split.image_of.values())
    paths = [split.root / image["file_name"] for image in images]
    seen = {}
    formats, folders = Image.registered_extensions(), _Folders()
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # Pillow's do not name the file
        facts: Iterable = pool.map(partial(look_at, level=level), paths)
        if progress is not None:
            facts = progress(facts, len(paths), f"images of {split.name}")
        for image, path, fact in zip(images, paths, facts, strict=True):
            _check_file(split, findings, image, fact, folders)
            if fact.problem is None:
                seen[image["id"]] = fact
                form = formats.get(path.suffix.lower())
                # MPO files are called .jpg.
                if form not in (fact.format, None) and fact.format != "MPO":
                    suspect = split.suspect_image(image, f"is {fact.format}")
                    findings.add(SUFFIX, split.name, suspect)
    return seen


def _check_file(
    split: Split, findings: Findings, image: dict, fact: ImageFile, folders: _Folders
) -> None:
    def add(check: Check, detail: str = "", severity: str | None = None) -> None:
        findings.add(check, split.name, split.suspect_image(image, detail), severity)

    left_out = "warning" if split.skips_images else None
    if fact.problem == "is not there":
        add(MISSING, folders.hint(split.path(image)))
    elif fact.problem is not None:
        add(BROKEN, fact.problem, left_out)
    else:
        _check_size(image, fact, add, left_out)
        if not fact.ends:
            add(CUT)
        if fact.mode in _DEEP_MODES:
            add(DEPTH, f"mode {fact.mode}")
        if fact.frames > 1:
            add(FRAMES, f"{fact.frames} images")
        if fact.blank:
            add(BLANK)


def _check_size(image: dict, fact: ImageFile, add: Callable, left_out: str | None) -> None:
    stated = (image["width"], image["height"])
    turned = f"EXIF orientation {fact.orientation}"
    if fact.shown != stated:
        sizes = "{}x{}, annotated as {}x{}".format(*fact.shown, *stated)
        if fact.stored == stated:
            add(TURNED, f"{turned}: {sizes}", left_out)
        else:
            add(OTHER_SIZE, f"is {sizes}", left_out)
    elif fact.orientation >= 5 and fact.stored != fact.shown:
        add(EXIF_FINE, turned)
    elif fact.orientation != 1:  # half rotations, mirrors and squares keep the size
        add(EXIF, turned)


class _Folders:
    """Suggests existing files for missing images; each folder is listed once."""

    def __init__(self) -> None:
        self._names: dict[Path, dict[str, str]] = {}

    def hint(self, path: Path) -> str:
        folder = path.parent
        if folder not in self._names:
            names = os.listdir(folder) if folder.is_dir() else []
            by_stem = {Path(name).stem: name for name in names}
            self._names[folder] = by_stem | {name.lower(): name for name in names}
        names = self._names[folder]
        near = names.get(path.name.lower()) or names.get(path.stem)
        if near:
            return f"there is {near}"
        return "" if names else f"{folder} is empty or does not exist"
