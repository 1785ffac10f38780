"""Finds duplicate images by the content of their files: within a split, or in two splits.

Only files of equal length are read. If all pixels were decoded, they are compared instead of the
files, which also finds copies in another lossless format or with other EXIF data.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.image_file import ImageFile
from lowres_d2.data.validation.split import Split

SHARED = Check(
    "overlap",
    "error",
    "images that another split has, too",
    "remove them from one: a detector must not be evaluated on images it was trained on",
)
REPEATED = Check(
    "image-twice",
    "warning",
    "images that occur twice under different names",
    "remove one: the image counts twice, and its annotations may differ",
)


class _Place(NamedTuple):
    split: Split
    image: dict


def check_overlap(
    splits: Sequence[Split], seen: Sequence[Mapping[int, ImageFile]], findings: Findings
) -> None:
    """Find duplicate images.

    Args:
        splits: the splits.
        seen: for each split, what is known about its readable images, by image id.
        findings: collects what is wrong.
    """
    by_size = defaultdict(list)
    for split, facts in zip(splits, seen, strict=True):
        for image_id, fact in facts.items():
            key = fact.content or fact.bytes
            by_size[key].append(_Place(split, split.image_of[image_id]))
    for key, places in by_size.items():
        groups = [places] if isinstance(key, bytes) else _equal_files(places)
        for group in groups:
            _report(group, findings)


def _equal_files(places: list[_Place]) -> list[list[_Place]]:
    paths = {str(place.split.path(place.image)) for place in places}
    if len(paths) == 1:  # one file that is listed several times: nothing to read
        return [places]
    groups = defaultdict(list)
    for place in places:
        groups[_digest(place.split.path(place.image))].append(place)
    return list(groups.values())


def _digest(path: Path) -> bytes:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


def _report(group: list[_Place], findings: Findings) -> None:
    first = group[0]
    for place in group[1:]:
        same_file = place.split.path(place.image) == first.split.path(first.image)
        name = first.image["file_name"]
        if place.split is not first.split:
            suspect = place.split.suspect_image(place.image, f"is {name} of {first.split.name}")
            findings.add(SHARED, place.split.name, suspect)
        elif not same_file:  # a file listed twice is found by check_ids
            suspect = place.split.suspect_image(place.image, f"is {name}")
            findings.add(REPEATED, place.split.name, suspect)
