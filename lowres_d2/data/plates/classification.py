"""Plates for classification: 32x32 images of one plate each, in one file of pixels.

The pixels are read into memory at once, as those of CIFAR and its like are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.classification.arrays import ImageArrays
from lowres_d2.data.generated import ensure_generated, generate_in_processes
from lowres_d2.data.plates.dataset import (
    GENERATOR_VERSION,
    SPLITS,
    check_choice,
    check_counts,
    with_sizes,
)
from lowres_d2.data.plates.glyphs import PLATE_CLASSES
from lowres_d2.data.plates.scene import SceneSettings, lay_out, paint_scene

import numpy as np
import torch
from torch.utils.data import Dataset

_ONE_PLATE = SceneSettings(image_size=32, size_range=(16.0, 24.0), max_plates=1, max_decoys=0)
_PIXELS, _LABELS = "images.npy", "labels.json"


class PlatesClassification(ImageArrays):
    """Images of one plate each, in memory, and the plate's class. A flip would change the class.

    Args:
        root: folder of generated sets; this one gets a subfolder named after its settings.
        split: "train", "val" or "test"; they share no image, whatever the seed.
        num_images: number of images; the first n are the same for any number.
        seed: seed of their content and pixels.
        size_range: smallest and largest sqrt(area) of the plate in pixels, from 1 to 24; None: 16
            to 24.
        num_workers: processes that generate; None: one per core.

    Attributes:
        folder: the folder of this set.

    Raises:
        ValueError: an argument is not valid, or a generated file is damaged.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        num_images: int = 5000,
        seed: int = 0,
        size_range: Sequence[float] | None = None,
        num_workers: int | None = None,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_counts(num_images, seed)
        settings, suffix = with_sizes(_ONE_PLATE, size_range)
        self.folder = Path(root) / f"classification_{split}_{num_images}_seed{seed}{suffix}"
        fingerprint = {
            "generator": GENERATOR_VERSION,
            "split": split,
            "num_images": num_images,
            "seed": seed,
            "scene": settings.as_dict(),
            # Earlier versions wrote a file for each image.
            "pixels": _PIXELS,
        }

        def write(part: Path) -> None:
            plates = _DrawnPlates(seed, SPLITS.index(split), num_images, settings)
            side = settings.image_size
            pixels = np.empty((num_images, 3, side, side), np.uint8)
            labels = []
            for label, image in generate_in_processes(plates, self.folder.name, num_workers):
                pixels[len(labels)] = np.frombuffer(image, np.uint8).reshape(3, side, side)
                labels.append(label)
            np.save(part / _PIXELS, pixels)
            content = json.dumps({"classes": PLATE_CLASSES, "labels": labels})
            (part / _LABELS).write_text(content, encoding="utf-8")

        ensure_generated(self.folder, fingerprint, write)
        try:
            images = torch.from_numpy(np.load(self.folder / _PIXELS))
            content = json.loads((self.folder / _LABELS).read_text(encoding="utf-8"))
            labels, classes = content["labels"], content["classes"]
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.folder}: its {_PIXELS} or {_LABELS} is damaged ({error}); delete the "
                "folder, and it is generated again"
            ) from error
        super().__init__(images, labels, classes, self.folder)


class _DrawnPlates(Dataset):
    """Item k: the label of plate k, and its image as bytes, (3, H, W) RGB."""

    def __init__(self, seed: int, split: int, num_images: int, settings: SceneSettings) -> None:
        self.seed, self.split, self.num_images = seed, split, num_images
        self.settings = settings

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> tuple[int, bytes]:
        scene = lay_out(self.seed, self.split, index, self.settings)
        # Bytes go through a pipe; of arrays, each would become a shared-memory tensor of its own.
        return scene.plates[0].label, paint_scene(scene).transpose(2, 0, 1).tobytes()
