"""The files of a teacher's cache: one per image, up to a total size.

They are written to temporary files and renamed, so that several processes can share a folder.
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

from jaxtyping import Float, Float16
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

logger = logging.getLogger(__name__)

GB = 1e9
# Fixed augmentations make at most this many different versions of an image (a flip makes two);
# random ones make new versions in every epoch.
VERSIONS = 2
# File systems give a file whole blocks, of this size or more; few features fill less than one.
BLOCK = 4096


@dataclass
class CacheEntry:
    """Outputs of one image, tap by tap.

    Attributes:
        values: all outputs, flattened and concatenated.
        shapes: shape of each output.
        calls: number of outputs of each tap.
    """

    values: Float16[Tensor, " values"]
    shapes: list[list[int]]
    calls: list[int]

    def split(self) -> list[Float[Tensor, " 1 *_any"]]:
        """Each output in its shape."""
        parts = self.values.split([math.prod(shape) for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


class CacheStore:
    """The folder of one teacher with one choice of taps.

    Args:
        folder: created on the first write.
        limit_gb: maximum size of its files on the disk, in 10^9 bytes.
        dataset_size: number of images of the data set; None: unknown.
        versions: number of versions of each that random augmentation makes.
    """

    def __init__(
        self, folder: Path, limit_gb: float, dataset_size: int | None, versions: int = 1
    ) -> None:
        self.folder, self.limit, self.dataset_size = folder, limit_gb * GB, dataset_size
        self.versions = versions
        sizes = [_on_disk(path.stat().st_size) for path in folder.glob("??/*.safetensors")]
        self.number, self.bytes = len(sizes), sum(sizes)
        self.misses = 0
        self.estimated = self.full = self.warned_of_random_images = False

    def read(self, key: str) -> CacheEntry | None:
        """Read an entry; None if there is no file, or if it is broken."""
        try:
            with safe_open(self._path(key), "pt") as file:
                described = file.metadata()
                shapes, calls = (json.loads(described[name]) for name in ("shapes", "calls"))
                return CacheEntry(file.get_tensor("values"), shapes, calls)
        except (FileNotFoundError, SafetensorError):
            return None

    def write(self, entries: Mapping[str, CacheEntry]) -> None:
        """Write entries until the limit is reached.

        Raises:
            ValueError: on the first write, if the entries of the whole data set would not fit.
        """
        if not entries:
            return
        files = {key: _content(entry) for key, entry in entries.items()}
        if not self.estimated:
            self._check_size(sum(_on_disk(len(file)) for file in files.values()) / len(files))
            self.estimated = True
        self.misses += len(files)
        self._warn_of_random_images()
        for key, file in files.items():
            self._write(key, file)

    def _write(self, key: str, file: bytes) -> None:
        if self.bytes + _on_disk(len(file)) > self.limit:
            if not self.full:
                logger.warning(
                    "teacher cache %s is full (%.1f GB, %d images): other images are computed "
                    "every time; raise limit_gb",
                    self.folder,
                    self.bytes / GB,
                    self.number,
                )
            self.full = True
            return
        with atomic_path(self._path(key)) as temporary:
            Path(temporary).write_bytes(file)
        self.number += 1
        self.bytes += _on_disk(len(file))

    def _check_size(self, mean: float) -> None:
        """Log the estimated size of the whole cache, or raise if it would not fit."""
        if self.dataset_size is None:
            return
        whole = mean * self.dataset_size * self.versions
        each = "each" if self.versions == 1 else f"in each of {self.versions} random versions"
        needs = f"{self.dataset_size} images of {mean / 1e6:.3f} MB {each}: {whole / GB:.3g} GB"
        if whole > self.limit:
            raise ValueError(
                f"teacher cache {self.folder} would need {needs}, over "
                f"limit_gb={self.limit / GB:g}: raise it, tap fewer or smaller feature maps, "
                "or train without model.teacher.cache"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        # What is cached already needs no more room.
        if whole - self.bytes > free:
            raise ValueError(
                f"teacher cache {self.folder} would need {needs}, but its disk has "
                f"{free / GB:.2f} GB free: give it another folder, or train without "
                "model.teacher.cache"
            )
        logger.info("teacher cache %s: %d images cached; %s", self.folder, self.number, needs)

    def _warn_of_random_images(self) -> None:
        if self.dataset_size is None or self.warned_of_random_images:
            return
        if self.misses <= max(VERSIONS, self.versions) * self.dataset_size:
            return
        self.warned_of_random_images = True
        logger.warning(
            "teacher cache: %d different images so far from a data set of %d: random augmentation "
            "makes new ones in every epoch, which cannot be cached; use fixed augmentations, or "
            "train without model.teacher.cache",
            self.misses,
            self.dataset_size,
        )

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def _content(entry: CacheEntry) -> bytes:
    """An entry's file."""
    described = {"shapes": json.dumps(entry.shapes), "calls": json.dumps(entry.calls)}
    return save({"values": entry.values}, described)


def _on_disk(length: int) -> int:
    return -(-length // BLOCK) * BLOCK
