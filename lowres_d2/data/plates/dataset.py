"""The embedded data set: generated images of traffic-sign-like plates, as a COCO data set.

Nothing to download: ``PlatesDataset("datasets/plates", "train")`` generates it on first use and
reuses it afterwards. The same seed gives the same objects on any machine, and the same pixels with
the same library versions. Only fine strokes tell the classes apart, so detection depends on
resolution.
"""

from __future__ import annotations

import hashlib
import json
import numbers
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from lowres_d2.data.datasets.coco import CocoDataset
from lowres_d2.data.generated import ensure_generated, generate_in_processes
from lowres_d2.data.plates.background import list_photos
from lowres_d2.data.plates.glyphs import PLATE_CLASSES
from lowres_d2.data.plates.scene import Scene, SceneSettings, lay_out, paint_scene

from PIL import Image
from torch.utils.data import Dataset

# Increase it with every change of layouts or pixels, so that old sets are regenerated.
GENERATOR_VERSION = 1
SPLITS = ("train", "val", "test")
VARIANTS = {
    "standard": SceneSettings(),
    "tiny": SceneSettings(size_range=(4.0, 16.0), max_plates=12),
    # Mostly background, for tiles and for thumbnails first.
    "large": SceneSettings(image_size=1024, max_plates=12),
}
# Subsampling would halve the resolution of colours; bars are 0.07 of a plate's side wide.
_JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}


class PlatesDataset(CocoDataset):
    """Generated detection set of eight classes, square images, sizes log-uniform.

    Args:
        root: folder of generated sets; this one gets a subfolder named after its settings.
        split: "train", "val" or "test"; they share no image, whatever the seed.
        num_images: number of images.
        seed: seed of layouts and pixels. The first n images are the same for any ``num_images``.
        variant: "standard" (images of 256x256, plates of 6 to 96 px), "tiny" (256x256, 4 to 16 px)
            or "large" (1024x1024, 6 to 96 px).
        size_range: smallest and largest sqrt(area) in pixels; None: the variant's.
        photos: folder of photographs to crop backgrounds from; None: procedural textures.
        num_workers: processes that generate; None: one per core.
        classes: as in ``CocoDataset``.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        num_images: int = 2000,
        seed: int = 0,
        variant: str = "standard",
        size_range: tuple[float, float] | None = None,
        photos: str | Path | None = None,
        num_workers: int | None = None,
        classes: list[str] | None = None,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("variant", variant, VARIANTS)
        check_counts(num_images, seed)
        settings, name = VARIANTS[variant], f"{variant}_{split}_{num_images}_seed{seed}"
        settings, suffix = with_sizes(settings, size_range)
        name += suffix
        photo_files = list_photos(photos) if photos is not None else []
        fingerprint = {
            "generator": GENERATOR_VERSION,
            "split": split,
            "num_images": num_images,
            "seed": seed,
            "scene": settings.as_dict(),
            # Not their content, which would have to be read at every start.
            "photos": [[p.name, p.stat().st_size] for p in photo_files],
        }
        if photo_files:
            digest = hashlib.blake2b(repr(fingerprint["photos"]).encode(), digest_size=4)
            name += f"_photos-{digest.hexdigest()}"
        folder = Path(root) / name

        def write(part: Path) -> None:
            (part / "images").mkdir()
            images = _ImageWriter(
                part / "images", seed, SPLITS.index(split), num_images, settings, photo_files
            )
            scenes = list(generate_in_processes(images, name, num_workers))
            content = json.dumps(scenes_to_coco(scenes, settings))
            (part / "annotations.json").write_text(content, encoding="utf-8")

        ensure_generated(folder, fingerprint, write)
        super().__init__(folder / "annotations.json", folder / "images", classes)


class _ImageWriter(Dataset):
    """Item k: render and save image k, and return its plates as (label, box) pairs."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        split: int,
        num_images: int,
        settings: SceneSettings,
        photos: list[Path],
    ) -> None:
        self.folder, self.settings, self.photos = folder, settings, photos
        self.seed, self.split, self.num_images = seed, split, num_images

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> list[tuple[int, tuple]]:
        scene = lay_out(self.seed, self.split, index, self.settings)
        image = paint_scene(scene, self.photos)
        Image.fromarray(image).save(self.folder / image_name(index), **_JPEG)
        return labelled_boxes(scene)


def image_name(index: int) -> str:
    """File name of an image."""
    return f"{index:06d}.jpg"


def labelled_boxes(scene: Scene) -> list[tuple[int, tuple]]:
    """Label and XYXY box of each plate that has a class (not of decoys)."""
    return [(plate.label, plate.box) for plate in scene.plates if plate.label is not None]


def with_sizes(
    settings: SceneSettings, size_range: Sequence[float] | None
) -> tuple[SceneSettings, str]:
    """Settings with other sizes of plates, and what the name of their folder ends with.

    Args:
        settings: of a variant.
        size_range: smallest and largest sqrt(area) in pixels; None: the variant's.

    Raises:
        ValueError: these are no two sizes that fit.
    """
    if size_range is None:
        return settings, ""
    if isinstance(size_range, numbers.Real) or len(size_range) != 2:
        raise ValueError(
            f"size_range={size_range!r}: expected the smallest and the largest size in pixels"
        )
    low, high = map(float, size_range)
    return replace(settings, size_range=(low, high)), f"_{low:g}-{high:g}px"


def scenes_to_coco(scenes: list[list[tuple[int, tuple]]], settings: SceneSettings) -> dict:
    """COCO ground truth of images given by their labelled boxes."""
    images, annotations = [], []
    size = settings.image_size
    for index, boxes in enumerate(scenes):
        images.append(
            {"id": index + 1, "file_name": image_name(index), "width": size, "height": size}
        )
        for label, (x0, y0, x1, y1) in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": k, "name": name} for k, name in enumerate(PLATE_CLASSES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def check_choice(key: str, value: str, choices: Collection[str]) -> None:
    """Raise an error if a value is not one of the choices."""
    if value not in choices:
        raise ValueError(f"{key}={value!r}: expected one of {', '.join(choices)}")


def check_counts(num_images: int, seed: int) -> None:
    """Raise an error for an invalid number of images or seed."""
    if num_images < 1:
        raise ValueError(f"num_images={num_images}: expected at least 1")
    if seed < 0:
        raise ValueError(f"seed={seed}: expected 0 or more")
