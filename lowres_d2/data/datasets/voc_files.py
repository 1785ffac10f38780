"""Reads the files of a folder ``VOC<year>``: annotations, lists, and names of the images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from lowres_d2.data.datasets.box_forms import FORMS, LEAST
from lowres_d2.data.datasets.json_values import is_finite
from lowres_d2.data.image import readable_endings
from lowres_d2.data.text_lines import text_lines

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocObject(NamedTuple):
    """An object of an xml file: class name, XYWH box in pixels, and whether it is 'difficult'."""

    name: str
    bbox: list[float]
    difficult: bool


class VocImage(NamedTuple):
    """The content of one xml file."""

    file_name: str = ""
    height: int = 0
    width: int = 0
    objects: Sequence[VocObject] = ()


def read_voc_xml(path: str | Path) -> VocImage:
    """Read one annotation file.

    VOC counts pixels from 1 and includes the last one, so pixels a to b cover a - 1 to b.
    """
    path = Path(path)
    try:
        with open(path, "rb", buffering=0) as file:
            tree = ElementTree.fromstring(file.readall())
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"{path}: no such annotation file") from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: encodings
        raise ValueError(f"{path}: is not XML ({error})") from None
    height, width = (_number(path, tree, f"size/{side}") for side in ("height", "width"))
    if height <= 0 or width <= 0:
        raise ValueError(
            f"{path}: size is {width:g}x{height:g}; expected the image's width and height"
        )
    objects = [_object(path, node) for node in tree.iterfind("object")]
    return VocImage(tree.findtext("filename") or "", int(height), int(width), objects)


def _object(path: Path, node: ElementTree.Element) -> VocObject:
    # One walk in place of a search for each key: there may be a million objects.
    parts = {part.tag: part for part in reversed(node)}
    texts = {part.tag: part.text for part in reversed(parts.get("bndbox", ()))}
    try:
        x0, y0, x1, y1 = (float(texts[side]) for side in _SIDES)
        sound = abs(x0) + abs(y0) + abs(x1) + abs(y1) < 1e15  # nor is NaN
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:  # again, with a message
        x0, y0, x1, y1 = (_number(path, node, f"bndbox/{side}") for side in _SIDES)
    named = parts.get("name")
    name = (named.text or "").strip() if named is not None else ""
    # Detectron2's load_voc_instances also subtracts 1 from xmin and ymin only.
    box = [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1]
    difficult = parts.get("difficult")
    return VocObject(
        name or _text(path, node, "name"), box, difficult is not None and difficult.text == "1"
    )


def _text(path: Path, node: ElementTree.Element, key: str) -> str:
    text = (node.findtext(key) or "").strip()
    if not text:
        raise ValueError(f"{path}: <{node.tag}> has no <{key.replace('/', '><')}>")
    return text


def _number(path: Path, node: ElementTree.Element, key: str) -> float:
    text = _text(path, node, key)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not is_finite(number):
        raise ValueError(f"{path}: {key} is '{text}'; expected a number")
    return number


def check_not_fractions(source: Path, images: Iterable[VocImage]) -> None:
    """Raise an error if all corners are fractions of the image, as other programs may write them.

    Args:
        source: folder of the annotations, for messages.
        images: from :func:`read_voc_xml`.
    """
    boxes = [found.bbox for image in images for found in image.objects]
    # Undone, what reading adds: 0.3 to 0.5 has become -0.7 to 0.5.
    if len(boxes) >= LEAST and all(
        x + 1 >= 0 and y + 1 >= 0 and x + w <= 1 and y + h <= 1 for x, y, w, h in boxes
    ):
        name, remedy = FORMS["fractions"]
        raise ValueError(f"{source}: its {len(boxes)} boxes look like {name}: {remedy}")


def listed_stems(path: Path) -> list[str]:
    """First word of each line of a list in ``ImageSets/Main``."""
    lines = text_lines(path, "one name per line")
    # Lists for one class have a second column: 1, -1, or 0 for 'difficult'.
    return [line.split()[0] for line in lines if line.strip()]


def image_names(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """File name of each image, by its stem; VOC's own are .jpg, others' need not be.

    Args:
        folder: folder of the images.
        given: stem of each annotation file to its ``<filename>``.

    Returns:
        The image of that stem which is there: the one that ``<filename>`` names, else the .jpg,
        else the first of any other format. Where none is, the name that it should have.
    """
    known = readable_endings()
    there: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in known:
            there.setdefault(stem, []).append(name)
    names = {}
    for stem, file_name in given.items():
        suffix = os.path.splitext(file_name)[1]
        wished = [stem + suffix] if suffix.lower() in known else []
        candidates = [*wished, f"{stem}.jpg"]
        found = there.get(stem, [])
        names[stem] = next((n for n in candidates if n in found), (found or candidates)[0])
    return names


def voc_image_folder(annotations: Path) -> Path:
    """Where VOC's images are: ``JPEGImages`` or ``images`` beside or in the folder, or in it."""
    for place in (annotations.parent, annotations):
        for name in ("JPEGImages", "images"):
            if (place / name).is_dir():
                return place / name
    return annotations
