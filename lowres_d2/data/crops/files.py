"""Cuts images into crops, which are saved as files, with their ground truth in COCO's form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from lowres_d2.data.crops.objects import CropObject, Outline, objects_on_crop
from lowres_d2.data.crops.saving import (
    Save,
    array_saver,
    kind_of,
    pixel_saver,
    png_holds,
    reading_mode,
    value_saver,
)
from lowres_d2.data.generated import generate_in_processes
from lowres_d2.data.image import exif_fault
from lowres_d2.data.image.decode import array_header, decode, orientation_of, turned
from lowres_d2.data.image.files import load_pixels, open_image, open_regular
from lowres_d2.structures import Size, TileGrid, Window

import numpy as np
from PIL import ImageOps, UnidentifiedImageError
from torch.utils.data import Dataset


class Source(NamedTuple):
    """An image to cut.

    Attributes:
        name: of its crops; they are ``NAME__1__x___y`` with an ending, as DOTA's tools have it.
        path: of its file.
        outlines: its objects.
        size: (height, width) that these are annotated on; None: that of the file as stored.
    """

    name: str
    path: Path
    outlines: Sequence[Outline]
    size: Size | None = None


class Crop(NamedTuple):
    """A crop that was written, and the objects on it."""

    file_name: str
    width: int
    height: int
    objects: list[CropObject]


class CropWriter(Dataset):
    """Item k: cut image k into crops and save them, and return these.

    A crop is a PNG file, or an array (.npy) or TIFF where PNG cannot hold its values, see
    ``saving.py``: a reader gets of it what it gets of the whole image. Arrays are read window by
    window, other files are decoded once.

    Args:
        sources: the images.
        grid: where the crops lie.
        least_inside: see :func:`~lowres_d2.data.crops.objects.objects_on_crop`.
        folder: of the crops.
    """

    def __init__(
        self, sources: Sequence[Source], grid: TileGrid, least_inside: float, folder: Path
    ) -> None:
        self._sources, self._folder = list(sources), folder
        self._grid, self._least_inside = grid, least_inside

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> list[Crop]:
        source = self._sources[index]
        try:
            with open_regular(str(source.path)) as file, _opened(file, source) as (size, save):
                return [self._crop(source, w, save) for w in self._grid.windows(size)]
        except (OSError, ValueError, SyntaxError) as error:  # the last: Pillow's, of a broken PNG
            if getattr(error, "errno", None) is not None:  # the system's, which name their file
                raise
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{source.path}: cannot be cut into tiles ({reason}); replace it"
            ) from None

    def _crop(self, source: Source, window: Window, save: Save) -> Crop:
        name = f"{source.name}__1__{window.x0}___{window.y0}"
        file_name = save(window, self._folder / name)
        height, width = window.size
        objects = objects_on_crop(source.outlines, window, self._least_inside)
        return Crop(file_name, width, height, objects)


@contextmanager
def _opened(file: IO[bytes], source: Source) -> Iterator[tuple[Size, Save]]:
    """Size of an image as its objects are annotated on it, and what saves a window of it."""
    if array_header(file) is not None:
        values = np.load(source.path, mmap_mode="r", allow_pickle=False)
        yield _checked(values.shape[:2], source), array_saver(values)
        return
    kind, mode = None, None
    try:
        with open_image(file, max_pixels=None) as image:
            if png_holds(image):
                orientation = 1 if source.size is None else orientation_of(image)
                load_pixels(image)
                turns = orientation != 1 and _turns(image.size[::-1], orientation, source)
                pixels = ImageOps.exif_transpose(image) if turns else image
                yield _checked(pixels.size[::-1], source), pixel_saver(pixels)
                return
            kind, mode = kind_of(image), reading_mode(image)
    except UnidentifiedImageError:  # such as a TIFF with many bands
        pass
    file.seek(0)
    decoded = decode(file, mode, max_pixels=None)
    values, orientation = decoded.values, decoded.orientation
    if orientation != 1 and source.size and _turns(values.shape[:2], orientation, source):
        values = turned(values, orientation)
    yield _checked(values.shape[:2], source), value_saver(values, decoded.top, kind)


def _turns(stored: Size, orientation: int, source: Source) -> bool:
    """Whether the annotations of an image follow EXIF's rotation of it."""
    rotated = stored[::-1] if orientation >= 5 else stored
    fault = exif_fault("check", orientation, rotated, source.size, bool(source.outlines))
    if fault is None:
        return True
    if tuple(stored) == tuple(source.size):
        if tuple(rotated) != tuple(stored):
            return False
        raise ValueError("EXIF rotates it, and its size does not tell whether its boxes follow")
    return True


def _checked(size: Sequence[int], source: Source) -> Size:
    height, width = size
    if source.size not in (None, (height, width)):
        stated = f"{source.size[1]}x{source.size[0]}"
        raise ValueError(f"it is {width}x{height}, but its annotations are for {stated}")
    return height, width


def crops_to_coco(
    crops: Sequence[Crop],
    ids: Mapping[Any, int],
    names: Sequence[str],
    info: Mapping[str, Any] | None = None,
) -> dict:
    """Ground truth of crops in COCO's form.

    Args:
        crops: all of them.
        ids: category id of each label.
        names: of the categories, in the order of ``ids``.
        info: of the data set's file, such as whose detections its objects are; None: it has none.
    """
    images, annotations = [], []
    for image_id, crop in enumerate(crops, start=1):
        sides = {"file_name": crop.file_name, "width": crop.width, "height": crop.height}
        images.append({"id": image_id} | sides)
        for found in crop.objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": ids[found.label],
                    "bbox": found.bbox,
                    "area": found.bbox[2] * found.bbox[3],
                    "iscrowd": int(found.ignored),
                    **found.more,
                }
            )
    categories = [{"id": k, "name": name} for k, name in zip(ids.values(), names, strict=True)]
    about = {"info": dict(info)} if info else {}
    return about | {"images": images, "annotations": annotations, "categories": categories}


def write_crops(
    part: Path,
    name: str,
    sources: Sequence[Source],
    rules: Any,
    ids: Mapping[Any, int],
    names: Sequence[str],
    workers: int,
    info: Mapping[str, Any] | None = None,
) -> None:
    """Cut all images into an empty folder: ``images`` and ``annotations.json``.

    Args:
        part: the folder.
        name: of the data set, for the log.
        sources: the images.
        rules: with ``grid`` and ``least_inside``, as :class:`~lowres_d2.data.crops.CropRules`.
        ids: see :func:`crops_to_coco`.
        names: likewise.
        workers: number of processes.
        info: see :func:`crops_to_coco`.
    """
    (part / "images").mkdir()
    writer = CropWriter(sources, rules.grid, rules.least_inside, part / "images")
    processes = 0 if workers < 2 else min(workers, len(writer))
    made = generate_in_processes(writer, name, processes)
    content = crops_to_coco([crop for crops in made for crop in crops], ids, names, info)
    (part / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
