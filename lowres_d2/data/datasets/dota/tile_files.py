"""Cuts images into tiles, which are saved as files, with their ground truth in COCO's form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.datasets.dota.label_files import DotaObject
from lowres_d2.data.datasets.dota.splits import DotaSplit
from lowres_d2.data.datasets.dota.tiles import TileObject, TileRules, objects_on_tile
from lowres_d2.data.image.files import open_image, open_regular

from PIL import Image
from torch.utils.data import Dataset


class Tile(NamedTuple):
    """A tile that was written, and the objects on it."""

    file_name: str
    width: int
    height: int
    objects: list[TileObject]


class TileWriter(Dataset):
    """Item k: cut image k into tiles and save them, and return these.

    A tile is a PNG file named after its image, as the benchmark's tools name it:
    ``P0000__1__824___0.png`` is at x 824 and y 0.

    Args:
        split: the images.
        objects: those of each image.
        rules: how they are cut.
        folder: of the tiles.
    """

    def __init__(
        self, split: DotaSplit, objects: dict[str, list[DotaObject]], rules: TileRules, folder: Path
    ) -> None:
        self._files = [(name, image) for name, (image, _) in split.files.items()]
        self._objects, self._rules, self._folder = objects, rules, folder

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> list[Tile]:
        name, path = self._files[index]
        try:
            with open_regular(str(path)) as file, open_image(file, max_pixels=None) as image:
                return self._cut(name, image)
        except (OSError, ValueError, SyntaxError) as error:  # the last: Pillow's, of a broken PNG
            if getattr(error, "errno", None) is not None:  # the system's, which name their file
                raise
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: cannot be cut into tiles ({reason}); replace it") from None

    def _cut(self, name: str, image: Image.Image) -> list[Tile]:
        tiles = []
        for y in self._rules.starts(image.height):
            for x in self._rules.starts(image.width):
                right = min(x + self._rules.size, image.width)
                bottom = min(y + self._rules.size, image.height)
                file_name = f"{name}__1__{x}___{y}.png"
                image.crop((x, y, right, bottom)).save(self._folder / file_name)
                size = (right - x, bottom - y)
                objects = objects_on_tile(self._objects[name], (x, y), size, self._rules)
                tiles.append(Tile(file_name, *size, objects))
        return tiles


def tiles_to_coco(tiles: Sequence[Tile], classes: Sequence[str]) -> dict:
    """Ground truth of tiles in COCO's form; annotations have ``difficult``, too."""
    images, annotations = [], []
    id_of = {name: k for k, name in enumerate(classes, start=1)}
    for image_id, tile in enumerate(tiles, start=1):
        names = {"file_name": tile.file_name, "width": tile.width, "height": tile.height}
        images.append({"id": image_id} | names)
        for found in tile.objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": id_of[found.name],
                    "bbox": found.bbox,
                    "area": found.bbox[2] * found.bbox[3],
                    "iscrowd": int(found.ignored),
                    "difficult": found.difficult,
                }
            )
    categories = [{"id": k, "name": name} for name, k in id_of.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
