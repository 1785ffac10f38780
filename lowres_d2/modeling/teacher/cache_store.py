"""The files of a teacher's cache: one an image, never over a limit.

They are written beside and renamed, so that several processes may share a folder.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.atomic import atomic_path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

logger = logging.getLogger(__name__)

GB = 1e9
# Different images, as a multiple of the data set's, that fixed augmentations may make: a flip
# makes two of each. Random ones make more and more.
VERSIONS = 2


@dataclass
class CacheEntry:
    """Outputs of one image, tap by tap.

    Attributes:
        values: all of them behind each other, float16.
        shapes: of each.
        calls: how many of them each tap has.
    """

    values: Tensor
    shapes: list[list[int]]
    calls: list[int]

    def split(self) -> list[Tensor]:
        """Each output in its shape."""
        parts = self.values.split([math.prod(shape) for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


class CacheStore:
    """The folder of one teacher with one choice of taps.

    Args:
        folder: made on the first write.
        limit_gb: the most it may hold, in 10^9 bytes.
        dataset_size: how many images are to come; None: not known.
    """

    def __init__(self, folder: Path, limit_gb: float, dataset_size: int | None) -> None:
        self.folder, self.limit, self.dataset_size = folder, limit_gb * GB, dataset_size
        sizes = [path.stat().st_size for path in folder.glob("??/*.safetensors")]
        self.number, self.bytes = len(sizes), sum(sizes)
        self.misses = 0
        self.estimated = self.full = self.told = False

    def read(self, key: str) -> CacheEntry | None:
        """An entry; None where it is not there, or not whole."""
        try:
            with safe_open(self._path(key), "pt") as file:
                described = file.metadata()
                shapes, calls = (json.loads(described[name]) for name in ("shapes", "calls"))
                return CacheEntry(file.get_tensor("values"), shapes, calls)
        except (FileNotFoundError, SafetensorError):
            return None

    def write(self, entries: Mapping[str, CacheEntry]) -> None:
        """Keep entries, as far as the limit allows.

        Raises:
            ValueError: at the first ones: those of the whole data set would not fit.
        """
        if not entries:
            return
        if not self.estimated:
            mean = sum(entry.values.nbytes for entry in entries.values()) / len(entries)
            self._check_size(mean)
            self.estimated = True
        self.misses += len(entries)
        self._tell_of_random_images()
        for key, entry in entries.items():
            self._write(key, entry)

    def _write(self, key: str, entry: CacheEntry) -> None:
        if self.bytes + entry.values.nbytes > self.limit:
            if not self.full:
                logger.warning(
                    "teacher cache %s is full (%.1f GB, %d images): others are computed every "
                    "time; raise limit_gb",
                    self.folder,
                    self.bytes / GB,
                    self.number,
                )
            self.full = True
            return
        described = {"shapes": json.dumps(entry.shapes), "calls": json.dumps(entry.calls)}
        with atomic_path(self._path(key)) as beside:
            save_file({"values": entry.values}, beside, described)
        self.number += 1
        self.bytes += entry.values.nbytes

    def _check_size(self, mean: float) -> None:
        """Say how much it will be, before much is written."""
        if self.dataset_size is None:
            return
        whole = mean * self.dataset_size
        needs = f"{self.dataset_size} images of {mean / 1e6:.2f} MB each: {whole / GB:.2f} GB"
        if whole > self.limit:
            raise ValueError(
                f"teacher cache {self.folder} would need {needs}, over "
                f"limit_gb={self.limit / GB:g}: raise it, tap fewer or smaller maps, or train "
                "without model.teacher.cache"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if whole - self.bytes > free:
            raise ValueError(
                f"teacher cache {self.folder} would need {needs}, but its disk has "
                f"{free / GB:.2f} GB free: give it another folder, or train without "
                "model.teacher.cache"
            )
        logger.info("teacher cache %s: %d there; %s", self.folder, self.number, needs)

    def _tell_of_random_images(self) -> None:
        if self.dataset_size is None or self.told or self.misses <= VERSIONS * self.dataset_size:
            return
        self.told = True
        logger.warning(
            "teacher cache: %d different images so far of a data set of %d: random augmentation "
            "makes new ones every epoch, which no cache can know; use fixed augmentations, or "
            "train without model.teacher.cache",
            self.misses,
            self.dataset_size,
        )

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"
