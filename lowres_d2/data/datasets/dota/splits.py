"""The files of a split of DOTA: its images, and the label file of each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.datasets.image_folder import first_few
from lowres_d2.data.image import ENDINGS


class DotaSplit(NamedTuple):
    """A split's folders, and the image and the label file of each name, in order."""

    images: Path
    labels: Path
    files: dict[str, tuple[Path, Path]]


def find_dota_split(
    folder: str | Path, labels: str = "labelTxt", images: str | Path = "images"
) -> DotaSplit:
    """Find the files of a split.

    Args:
        folder: with the images and the labels in it.
        labels: name of the folder of the label files.
        images: name of the folder of the images, or an absolute path.

    Raises:
        FileNotFoundError: a folder is missing, or an image or label file without the other.
        ValueError: two images have one name, but for their endings.
    """
    folder = Path(folder)
    image_folder, label_folder = folder / images, folder / labels
    for place in (image_folder, label_folder):
        if not place.is_dir():
            raise FileNotFoundError(
                f"{place}: no such folder; expected DOTA's {folder.name}/images with its images, "
                f"and {folder.name}/{labels} with a label file for each"
            )
    image_of: dict[str, Path] = {}
    for path in sorted(image_folder.iterdir()):
        if path.suffix.lower() in ENDINGS:
            other = image_of.setdefault(path.stem, path)
            if other is not path:
                raise ValueError(
                    f"{image_folder}: has {other.name} and {path.name}, for which there is one "
                    f"label file, {path.stem}.txt: remove one of them"
                )
    label_of = {p.stem: p for p in sorted(label_folder.glob("*.txt"))}
    if not image_of:
        raise FileNotFoundError(f"{image_folder}: has no images; expected DOTA's, like P0000.png")
    for place, own, other in (
        (label_folder, label_of, image_of),
        (image_folder, image_of, label_of),
    ):
        missing = [name for name in other if name not in own]
        if missing:
            raise FileNotFoundError(
                f"{place}: lacks {len(missing)} of {len(other)} files ({first_few(missing)}): "
                "complete it, every image has a label file of its name"
            )
    files = {name: (path, label_of[name]) for name, path in image_of.items()}
    return DotaSplit(image_folder, label_folder, files)
