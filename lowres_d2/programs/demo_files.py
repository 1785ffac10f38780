"""Which files the demo reads, and which it writes for them."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data import BrokenImageError
from lowres_d2.data.image import ENDINGS, is_image
from lowres_d2.natural_order import natural_order
from lowres_d2.programs.demo_video import ENCODERS

WRITTEN = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
IMAGES = ENDINGS  # those that cannot hold a drawing become .png
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


def find_inputs(given: Sequence[str]) -> list[Path]:
    """The input files: files as they are, the images of folders, the matches of globs.

    What else a folder has is named on stderr. An image with the ending of something else is an
    input: :func:`check_ending` refuses it by name.

    Raises:
        FileNotFoundError: something gives no file.
    """
    files: list[Path] = []
    for item in given:
        if Path(item).is_dir():
            found = _inputs_of_folder(Path(item))
            missing = f"--input {item}: the folder has no images ({' '.join(IMAGES)})"
        elif Path(item).exists():
            found = [Path(item)]
        else:
            matches = sorted(glob.glob(item, recursive=True), key=natural_order)
            found = [Path(match) for match in matches]
            missing = f"--input {item}: no such file or folder, and no file matches it"
        if not found:
            raise FileNotFoundError(missing)
        files += found
    return files


def _inputs_of_folder(folder: Path) -> list[Path]:
    found, others = [], []
    for path in sorted(folder.iterdir(), key=lambda path: natural_order(path.name)):
        if path.suffix.lower() in IMAGES + VIDEOS or (path.is_file() and is_image(path)):
            found.append(path)
        elif not path.name.startswith("."):
            others.append(f"{path.name}/" if path.is_dir() else path.name)
    if others:
        names = ", ".join(others[:5]) + (f", ... ({len(others)})" if len(others) > 5 else "")
        print(f"--input {folder}: neither images nor videos: {names}", file=sys.stderr)
    return found


def find_targets(files: Sequence[Path], output: Path) -> tuple[list[Path], Path]:
    """Where to write each input, and the json file; inputs of the same name get a number.

    Args:
        files: the inputs.
        output: a folder, or an image or video for a single input.

    Raises:
        ValueError: the output does not fit the inputs, or would overwrite one of them.
    """
    given = {file.resolve() for file in files}
    if output.suffix.lower() in IMAGES + VIDEOS:
        if output.suffix.lower() in IMAGES and output.suffix.lower() not in WRITTEN:
            raise ValueError(f"--output {output}: expected one of {' '.join(WRITTEN)}")
        if len(files) > 1:
            raise ValueError(f"--output {output}: a folder is needed for {len(files)} inputs")
        if is_video(files[0]) != (output.suffix.lower() in ENCODERS):
            raise ValueError(
                f"--output {output}: an image makes an image, a video an {' or '.join(ENCODERS)}"
            )
        _check_no_input([output], given, output)
        return [output], output.with_suffix(".json")
    targets: list[Path] = []
    for file in files:
        name = file.name
        if is_video(file):
            name = f"{file.stem}.mp4"
        elif file.suffix.lower() in IMAGES and file.suffix.lower() not in WRITTEN:
            name = f"{file.stem}.png"
        target, number = output / name, 2
        while target in targets:
            target, number = output / f"{Path(name).stem}-{number}{Path(name).suffix}", number + 1
        targets.append(target)
    _check_no_input(targets, given, output)
    return targets, output / "detections.json"


def check_ending(file: Path) -> None:
    """Raise where a file's ending does not say that it is an image or a video.

    Raises:
        BrokenImageError: names the file and the endings.
    """
    if file.suffix.lower() not in IMAGES + VIDEOS:
        ending = f"the ending {file.suffix}" if file.suffix else "no ending"
        raise BrokenImageError(
            f"{file}: has {ending}; rename it to that of its format, "
            f"{' '.join(IMAGES)} or {' '.join(VIDEOS)}"
        )


def _check_no_input(targets: Sequence[Path], given: set[Path], output: Path) -> None:
    for target in targets:
        if target.resolve() in given:
            raise ValueError(f"--output {output}: would overwrite the input {target}")


def is_video(file: Path) -> bool:
    """Whether a file's ending is that of a video."""
    return file.suffix.lower() in VIDEOS
