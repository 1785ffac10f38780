"""Plates for classification: 32x32 images of one plate each, and a json file of labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.plates.dataset import GENERATOR_VERSION, SPLITS, check_choice, check_counts
from lowres_d2.data.plates.generate import ensure_generated, generate_in_processes
from lowres_d2.data.plates.glyphs import PLATE_CLASSES
from lowres_d2.data.plates.scene import SceneSettings, lay_out, paint_scene

from PIL import Image
from torch.utils.data import Dataset

_ONE_PLATE = SceneSettings(image_size=32, size_range=(16.0, 24.0), max_plates=1, max_decoys=0)


class PlatesClassification(Sequence):
    """Images of one plate each: dicts of file_name, height, width, image_id and ``label``.

    Args:
        root: folder of generated sets; this one gets a subfolder named after its settings.
        split: "train", "val" or "test".
        num_images: number of images.
        seed: seed of their content and pixels.
        num_workers: processes that generate; None: one per core.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        num_images: int = 5000,
        seed: int = 0,
        num_workers: int | None = None,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_counts(num_images, seed)
        self.folder = Path(root) / f"classification_{split}_{num_images}_seed{seed}"
        fingerprint = {
            "generator": GENERATOR_VERSION,
            "split": split,
            "num_images": num_images,
            "seed": seed,
            "scene": _ONE_PLATE.as_dict(),
        }

        def write(part: Path) -> None:
            (part / "images").mkdir()
            crops = _CropWriter(part / "images", seed, SPLITS.index(split), num_images)
            labels = list(generate_in_processes(crops, self.folder.name, num_workers))
            content = {"classes": PLATE_CLASSES, "labels": labels}
            (part / "labels.json").write_text(json.dumps(content), encoding="utf-8")

        ensure_generated(self.folder, fingerprint, write)
        content = json.loads((self.folder / "labels.json").read_text(encoding="utf-8"))
        self.classes: list[str] = content["classes"]
        self.labels: list[int] = content["labels"]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.folder}: image {index} of {len(self)}")
        index %= len(self)
        return {
            "file_name": str(self.folder / "images" / _crop_name(index)),
            "height": _ONE_PLATE.image_size,
            "width": _ONE_PLATE.image_size,
            "image_id": index + 1,
            "label": self.labels[index],
        }


class _CropWriter(Dataset):
    """Item k: render and save image k, and return the plate's label."""

    def __init__(self, folder: Path, seed: int, split: int, num_images: int) -> None:
        self.folder, self.seed, self.split, self.num_images = folder, seed, split, num_images

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> int:
        scene = lay_out(self.seed, self.split, index, _ONE_PLATE)
        Image.fromarray(paint_scene(scene)).save(self.folder / _crop_name(index), compress_level=1)
        return scene.plates[0].label


def _crop_name(index: int) -> str:
    return f"{index:06d}.png"
