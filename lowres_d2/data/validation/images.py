"""Checks image files against their annotations."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lowres_d2.data.datasets.image_folder import of_windows
from lowres_d2.data.image import exif_fault
from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.image_file import ImageFile, look_at
from lowres_d2.data.validation.split import Split

import numpy as np
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
    "replace them, or skip them with on_broken=skip of dataloader.train.mapper, or test.mapper",
)
UNFIT = Check(
    "image-unfit",
    "error",
    "images that cannot be read with these settings",
    "set what each line says",
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
    "images that EXIF rotates, annotated for the other reading",
    "set the mapper's exif as each line says, or annotate the images as they are read",
)
EXIF = Check(
    "image-exif",
    "error",
    "images with an EXIF orientation, whose size does not tell whether the boxes follow it",
    'look at their boxes, then set the mapper\'s exif to "apply" (they do) or "ignore"',
)
EXIF_FINE = Check(
    "image-exif-fine",
    "info",
    "images that EXIF rotates",
    "fine here; programs that treat EXIF otherwise see them differently",
)
DEPTH = Check(
    "image-depth",
    "info",
    "images with more than 8 bits per channel",
    "read at full depth, 0 to 255 being the range of the file's depth or of value_range",
)
NARROW = Check(
    "image-narrow",
    "warning",
    "deep images whose values fill under a tenth of the range that they are read with",
    "set dataloader.train.mapper.value_range to the range of all images",
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

_DEEP_GREY = ("I", "F")  # starts of Pillow's modes
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
        look = partial(look_at, level=level, reader=split.reader)
        facts: Iterable = pool.map(look, paths)
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


def pixel_statistics(facts: Iterable[ImageFile]) -> str | None:
    """Mean and standard deviation of each channel, every image counting equally.

    Args:
        facts: what is known about images; None is returned where not all pixels were decoded, or
            where they have different numbers of channels.
    """
    moments = [fact.moments for fact in facts]
    if any(m is None for m in moments) or len({m.shape for m in moments}) != 1:
        return None
    mean, square = np.mean(np.stack(moments), axis=0, dtype=np.float64)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    shown = [", ".join(f"{value:.1f}" for value in values) for values in (mean, spread)]
    return "pixel_mean [{}] and pixel_std [{}] of its images".format(*shown)


def _check_file(
    split: Split, findings: Findings, image: dict, fact: ImageFile, folders: _Folders
) -> None:
    def add(check: Check, detail: str = "", severity: str | None = None) -> None:
        findings.add(check, split.name, split.suspect_image(image, detail), severity)

    left_out = "warning" if split.skips_images else None
    if fact.problem == "is not there":
        add(MISSING, folders.hint(split.path(image)))
    elif fact.problem is not None:
        add(UNFIT if fact.unfit else BROKEN, fact.problem, left_out)
    else:
        _check_size(split, image, fact, add, left_out)
        if not fact.ends:
            add(CUT)
        if fact.spread is not None or fact.mode.startswith(_DEEP_GREY):
            add(DEPTH, f"mode {fact.mode}")
        if fact.is_narrow:
            add(NARROW, "{:.1f} to {:.1f} where 0 to 255 are possible".format(*fact.spread))
        if fact.frames > 1:
            add(FRAMES, f"{fact.frames} images")
        if fact.blank:
            add(BLANK)


def _check_size(
    split: Split, image: dict, fact: ImageFile, add: Callable, left_out: str | None
) -> None:
    stated = (image["width"], image["height"])
    exif = split.reader.exif
    read = fact.stored if exif == "ignore" else fact.shown
    if fact.orientation != 1:
        boxes = image["id"] in split.image_ids_with_boxes
        fault = exif_fault(exif, fact.orientation, read[::-1], stated[::-1], boxes)
        if fault:
            add(EXIF if read == stated else TURNED, fault, left_out)
            return
        if read == stated:
            add(EXIF_FINE, f"EXIF orientation {fact.orientation}, and the size fits")
    if read != stated:
        add(OTHER_SIZE, "is {}x{}, annotated as {}x{}".format(*read, *stated), left_out)


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
        return of_windows([str(path)]) or ("" if names else f"{folder} is empty or does not exist")
