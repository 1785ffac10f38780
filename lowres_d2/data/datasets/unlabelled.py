"""Images without labels: those of a folder, or of a COCO json file without its annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.datasets.coco_json import checked_images, read_coco_json
from lowres_d2.data.datasets.image_folder import checked_image_root
from lowres_d2.data.image import ENDINGS
from lowres_d2.data.image.files import walk_images
from lowres_d2.natural_order import natural_order


class UnlabelledImages(Sequence):
    """Images as Detectron2's dataset dicts, without annotations.

    A dict has ``file_name`` and ``image_id``; of a json file ``height`` and ``width``, too.

    Args:
        source: a folder, whose images, also in folders below it, are in the order of their names,
            2.png before 10.png; or a COCO json file, with the ids and the order of its images. Its
            annotations may be missing, and are not used.

    Attributes:
        source: the folder or file, which messages name.
        image_root: folder that the images' names are relative to.
        names: these names by id.

    Raises:
        FileNotFoundError: there is no such folder or file, or its images are missing.
        ValueError: there are no images, or the file is no valid one.
    """

    def __init__(self, source: str | Path) -> None:
        path = Path(source)
        self.source = str(source)
        if path.is_dir():
            self.image_root, records = path, _of_folder(path)
        elif not path.exists():
            raise FileNotFoundError(
                f"{source}: no such folder or file; give a folder of images, or a COCO json file"
            )
        elif path.suffix.lower() in ENDINGS:
            raise ValueError(f"{source}: is one image: give its folder, or a COCO json file")
        else:
            self.image_root, records = _of_json(path)
        if not records:
            endings = f" ({' '.join(ENDINGS)})" if path.is_dir() else ""
            raise ValueError(f"{source}: has no images{endings}")
        self.names = {record["image_id"]: record["file_name"] for record in records}
        self._records = [
            record | {"file_name": str(self.image_root / record["file_name"])} for record in records
        ]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            # Iteration over a Sequence ends with this error.
            raise IndexError(f"{self.source}: image {index} of {len(self)}")
        return dict(self._records[index])


def _of_folder(folder: Path) -> list[dict]:
    names = [name for name in walk_images(folder) if (folder / name).is_file()]
    names.sort(key=natural_order)
    return [{"file_name": name, "image_id": k} for k, name in enumerate(names, start=1)]


def _of_json(path: Path) -> tuple[Path, list[dict]]:
    images = checked_images(path, read_coco_json(path))
    names = [image["file_name"] for image in images.values()]
    keys = ("file_name", "height", "width")
    records = [
        {key: image[key] for key in keys} | {"image_id": number} for number, image in images.items()
    ]
    return checked_image_root(path, names, None, check_images=True), records
