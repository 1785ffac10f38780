"""Dataset mapper: reads an image, augments it, and drops boxes that have no area left.

Boxes are XYXY in pixels of the augmented image; images uint8 (C, H, W).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

from lowres_d2.data.image import load_image

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

_logger = logging.getLogger(__name__)
# What Pillow raises for broken files, see `load_image`.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class BrokenImageError(ValueError):
    """An image that cannot be read, or whose size is not the annotated one."""


class DetectionMapper:
    """Detectron2's dataset mapper for boxes and labels, which also counts the boxes that it drops.

    Returns a dict of ``image`` (uint8 tensor (C, H, W)) and the other entries of the dataset dict
    (height and width of the stored image, file_name, image_id, a classifier's label). In training
    it also has ``instances`` (Instances of the augmented image with gt_boxes and gt_classes,
    without crowds) and ``num_dropped_boxes``.

    Args:
        is_train: whether annotations are used.
        augmentations: Detectron2 augmentations, in order.
        image_format: channel order, "BGR" or "RGB", or "L".
        on_broken: what to do with an image that cannot be read: "error" raises; "skip" returns
            None: the loaders count it, and the training loader takes the next image instead.
        min_box_side: after augmentation, boxes with a side of at most this many pixels are dropped.
    """

    def __init__(
        self,
        is_train: bool,
        augmentations: Sequence[T.Augmentation | T.Transform] = (),
        image_format: str = "BGR",
        on_broken: str = "error",
        min_box_side: float = 1e-5,
    ) -> None:
        if on_broken not in ("error", "skip"):
            raise ValueError(f"on_broken={on_broken!r}: expected 'error' or 'skip'")
        self.is_train = is_train
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format
        self.on_broken = on_broken
        # 1e-5 is the threshold of Detectron2's filter_empty_instances.
        self.min_box_side = min_box_side

    def __call__(self, record: dict) -> dict | None:
        try:
            image = self._read(record)
        except BrokenImageError as error:
            if self.on_broken == "error":
                raise
            _logger.warning("skipped: %s", error)
            return None
        sample = {key: copy.copy(value) for key, value in record.items() if key != "annotations"}
        augmented = T.AugInput(image)
        transforms = self.augmentations(augmented)
        sample["image"] = _to_tensor(augmented.image)
        if self.is_train and "annotations" in record:
            instances, num_dropped = self._instances(
                record["annotations"], transforms, sample["image"].shape[-2:]
            )
            sample["instances"] = instances
            sample["num_dropped_boxes"] = num_dropped
        return sample

    def _read(self, record: dict) -> np.ndarray:
        """Read the image as (H, W, C), and check its size against the annotated one."""
        name = record["file_name"]
        try:
            image = load_image(name, self.image_format)
        except FileNotFoundError:
            raise BrokenImageError(
                f"{name}: no such image; complete the folder or set the data set's image_root"
            ) from None
        except _UNREADABLE as error:
            raise BrokenImageError(
                f"{name}: cannot be read as an image ({_first_line(error)}); replace it, or set "
                'the mapper\'s on_broken="skip"'
            ) from None
        # As read, thus after EXIF's rotation, which annotations may not follow.
        height, width = image.shape[:2]
        stated = (record.get("height", height), record.get("width", width))
        if (height, width) != stated:
            raise BrokenImageError(
                f"{name}: is {width}x{height}, but its annotations are for "
                f"{stated[1]}x{stated[0]}; correct the image or the annotation file"
            )
        # Pillow may share a read-only buffer, but augmentations may write, and torch warns of it.
        return image if image.flags.writeable else image.copy()

    def _instances(
        self, annotations: list[dict], transforms: T.Transform, shape: tuple[int, int]
    ) -> tuple[Instances, int]:
        """Ground truth of the augmented image, and the number of boxes dropped."""
        # As in Detectron2's mapper: crowds are no targets, and so their area counts as background.
        kept = [a for a in annotations if not a.get("iscrowd", 0)]
        boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in kept]
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        boxes = transforms.apply_box(boxes)
        height, width = shape
        boxes = torch.as_tensor(boxes.clip(0, [width, height, width, height]), dtype=torch.float32)
        classes = torch.tensor([a["category_id"] for a in kept], dtype=torch.int64)
        sides = boxes[:, 2:] - boxes[:, :2]
        remains = (sides > self.min_box_side).all(dim=1)
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(boxes[remains])
        instances.gt_classes = classes[remains]
        return instances, int((~remains).sum())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W) or (H, W, C) to uint8 (C, H, W)."""
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8:  # some augmentations compute in floating point
        image = image.round().clip(0, 255).astype(np.uint8)
    # Copied, since a flipped image is a view with negative strides, which torch refuses.
    return torch.from_numpy(image.transpose(2, 0, 1).copy())
