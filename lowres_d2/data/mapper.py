"""Dataset mapper: reads an image, augments it, and drops boxes that have no area left.

Boxes are XYXY in pixels of the augmented image; images (C, H, W) of 0 to 255.
"""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Sequence

from lowres_d2.data.aug_input import ImageInput
from lowres_d2.data.corners import cut_corner
from lowres_d2.data.crowds import CROWDS, blank_crowds
from lowres_d2.data.image import (
    MAX_PIXELS,
    NARROW,
    FileImage,
    ImageReader,
    UnfitImageError,
    exif_fault,
)

import cv2
import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances

_logger = logging.getLogger(__name__)
# What Pillow raises for broken files, see `ImageReader.read`.
_UNREADABLE = (OSError, SyntaxError, ValueError)
_KINDS = ("narrow", "exif")  # of images, whose first one is warned of
# Packages whose TypeErrors and AssertionErrors are about the image that they are given.
_ABOUT_IMAGES = ("PIL", "detectron2", "fvcore", "lowres_d2")


class BrokenImageError(ValueError):
    """An image that cannot be read or augmented, or that its annotations do not fit."""


class UnreadableImageError(BrokenImageError):
    """A file that is no image, or a damaged one."""


class DetectionMapper:
    """Detectron2's dataset mapper for boxes and labels, which also counts the boxes that it drops.

    Returns a dict of ``image`` (tensor (C, H, W), 0 to 255: uint8, or float32 of files with more
    than 8 bits), ``height`` and ``width`` of the stored image, and the other entries of the dataset
    dict (file_name, image_id, a classifier's label). In training it also has ``instances``
    (Instances of the augmented image with gt_boxes and gt_classes, without crowds) and
    ``num_dropped_boxes``.

    Args:
        is_train: whether annotations are used.
        augmentations: Detectron2 augmentations, in order.
        image_format: channels, "BGR", "RGB" or "L" (grey); None: those of the files.
        on_broken: what to do with an image that cannot be used: "error" raises; "skip" returns
            None: the loaders count it, and the training loader takes the next image instead.
        min_box_side: after augmentation, boxes with a side of at most this many pixels are dropped.
        value_range: values of the files that become 0 and 255; None: 0 and the largest value of
            each file's depth, 65535 for 16 bits.
        max_pixels: the most pixels that an image may have; None: any number.
        exif: what is done with images that EXIF rotates: "check" applies the rotation and raises
            where the size does not tell whether boxes follow it; "apply"; "ignore".
        channels: with ``image_format=None``, the number of channels that every image must have;
            None: any.
        crowds: what training makes of ignore regions: "background", as Detectron2 does; "blank":
            they get the image's mean colour, so that what is in them is not learned as background;
            "region_mean": each gets its own mean colour; "ignore": samples also have ``ignored``,
            Instances with their ``gt_boxes``, in which ``LowResDetector`` takes nothing for
            background.
        windows: whether ``image`` is a :class:`lowres_d2.data.image.FileImage` where the file
            allows it, a TIFF or an array: its pixels are read as a ``TiledDetector`` needs them,
            and ``max_pixels`` is not for it. In evaluation, without augmentations.
    """

    def __init__(
        self,
        is_train: bool,
        augmentations: Sequence[T.Augmentation | T.Transform] = (),
        image_format: str | None = "BGR",
        on_broken: str = "error",
        min_box_side: float = 1e-5,
        value_range: Sequence[float] | None = None,
        max_pixels: int | None = MAX_PIXELS,
        exif: str = "check",
        channels: int | None = None,
        crowds: str = "background",
        windows: bool = False,
    ) -> None:
        if on_broken not in ("error", "skip"):
            raise ValueError(f"on_broken={on_broken!r}: expected 'error' or 'skip'")
        if crowds not in CROWDS:
            raise ValueError(f"crowds={crowds!r}: expected one of {', '.join(map(repr, CROWDS))}")
        if windows and is_train:
            raise ValueError("mapper.windows=true is for evaluation: training reads whole images")
        if windows and augmentations:
            raise ValueError(
                "mapper.windows=true is for evaluation without augmentations: set "
                "dataloader.test.mapper.augmentations=[]"
            )
        self.is_train, self.windows = is_train, windows
        self.crowds = crowds if is_train else "background"
        _check_lengths(augmentations)
        self.augmentations = T.AugmentationList(list(augmentations))
        self.reader = ImageReader(image_format, value_range, max_pixels, exif, channels)
        self.on_broken = on_broken
        # 1e-5 is the threshold of Detectron2's filter_empty_instances.
        self.min_box_side = min_box_side
        # In memory that the processes of a loader share: one of them warns for all.
        self._said = {kind: torch.zeros(1, dtype=torch.bool).share_memory_() for kind in _KINDS}

    @property
    def image_format(self) -> str | None:
        """Channels of the images."""
        return self.reader.image_format

    def __call__(self, record: dict) -> dict | None:
        try:
            return self.sample_of_file(record)
        except BrokenImageError as error:
            if self.on_broken == "skip":
                _logger.warning("skipped: %s", error)
                return None
            if not isinstance(error, UnreadableImageError):
                raise
            split = "train" if self.is_train else "test"
            raise BrokenImageError(
                f"{error}; replace it, or set dataloader.{split}.mapper.on_broken=skip"
            ) from None

    def sample_of_pixels(self, pixels: np.ndarray, name: str) -> dict:
        """The sample of an image in memory, without annotations.

        Args:
            pixels: (H, W, C), as the reader gives them; they are not changed.
            name: of the image, for messages.

        Raises:
            BrokenImageError: it cannot be augmented.
        """
        # Augmentations may write. In the same order of axes, which is quicker.
        augmented, _ = self._augment(pixels.copy(order="K"), name)
        size = {"height": pixels.shape[0], "width": pixels.shape[1]}
        return {"file_name": name} | size | {"image": _to_tensor(augmented, pixels.dtype)}

    def sample_of_file(self, record: dict) -> dict:
        """The sample of a dataset dict, whatever ``on_broken`` says.

        Raises:
            BrokenImageError: the image cannot be used.
        """
        if self.windows and (sample := self._in_windows(record)) is not None:
            return sample
        image = self._read(record)
        if self.crowds in ("blank", "region_mean"):
            own = self.crowds == "region_mean"
            image = blank_crowds(image, record.get("annotations", ()), region_mean=own)
        augmented, transforms = self._augment(image, record["file_name"])
        sample = {key: copy.copy(value) for key, value in record.items() if key != "annotations"}
        sample.setdefault("height", image.shape[0])
        sample.setdefault("width", image.shape[1])
        sample["image"] = _to_tensor(augmented, image.dtype)
        if self.is_train and "annotations" in record:
            instances, num_dropped = self._instances(
                record["annotations"], transforms, sample["image"].shape[-2:]
            )
            sample["instances"] = instances
            if self.crowds == "ignore":
                sample["ignored"] = self._ignored(
                    record["annotations"], transforms, sample["image"].shape[-2:]
                )
            sample["num_dropped_boxes"] = num_dropped
        return sample

    def _in_windows(self, record: dict) -> dict | None:
        """The sample of an image that is read window by window; None: its file does not allow it.

        Raises:
            BrokenImageError: its annotations are for another size, or its values have no range.
        """
        try:
            image = FileImage(record["file_name"], self.reader)
        except _UNREADABLE:  # decoded as a whole, which says what is wrong with a broken one
            return None
        self._check_size(record, image.shape[1:], orientation=1)
        name = record["file_name"]
        try:
            fault = None if self._said["narrow"] else image.range_fault()
        except UnfitImageError as error:
            raise BrokenImageError(f"{name}: {error}") from None
        except ValueError as error:  # names the file
            raise BrokenImageError(str(error)) from None
        if fault:
            self._say_once("narrow", f"{name}: {fault}")
        sample = {key: copy.copy(value) for key, value in record.items() if key != "annotations"}
        height, width = image.shape[1:]
        return {"height": height, "width": width} | sample | {"image": image}

    def _read(self, record: dict) -> np.ndarray:
        """Read the image as (H, W, C), and check its size against the annotated one."""
        name = record["file_name"]
        try:
            image, orientation = self.reader.read_turned(name)
        except FileNotFoundError:
            raise BrokenImageError(
                f"{name}: no such image; complete the folder or set the data set's image_root"
            ) from None
        except UnfitImageError as error:
            raise BrokenImageError(f"{name}: {error}") from None
        except _UNREADABLE as error:
            raise UnreadableImageError(
                f"{name}: cannot be read as an image ({_first_line(error)})"
            ) from None
        try:
            image = cut_corner(image, record)
        except ValueError as error:
            raise BrokenImageError(f"{name}: {error}") from None
        self._check_size(record, image.shape[:2], orientation)
        if image.dtype != np.uint8 and np.ptp(image) < NARROW and not self._said["narrow"]:
            fault = self.reader.range_fault(name)
            if fault:
                self._say_once("narrow", f"{name}: {fault}")
        # Pillow may share a read-only buffer, but augmentations may write, and torch warns of it.
        return image if image.flags.writeable else image.copy()

    def _check_size(self, record: dict, size: tuple[int, int], orientation: int) -> None:
        """Raise where annotations do not fit the image as it was read, or may not."""
        name, (height, width) = record["file_name"], size
        stated = (record.get("height", height), record.get("width", width))
        if orientation != 1:
            boxes = bool(record.get("annotations"))
            fault = exif_fault(self.reader.exif, orientation, size, stated, boxes)
            if fault:
                raise BrokenImageError(f"{name}: {fault}")
            if self.reader.exif != "ignore" and boxes:
                self._say_once("exif", f"{name}: rotated by EXIF, as its boxes are")
        if size != stated:
            raise BrokenImageError(
                f"{name}: is {width}x{height}, but its annotations are for "
                f"{stated[1]}x{stated[0]}; correct the image or the annotation file"
            )

    def _say_once(self, kind: str, text: str) -> None:
        """Warn of the first image of a kind."""
        if not self._said[kind]:
            self._said[kind].fill_(True)
            _logger.warning("%s (said of the first such image only)", text)

    def _augment(self, image: np.ndarray, name: str) -> tuple[np.ndarray, T.TransformList]:
        """The augmented image, and what was done to it."""
        height, width = image.shape[:2]
        augmented = ImageInput(image)
        try:
            transforms = self.augmentations(augmented)
        # What Pillow, OpenCV and Detectron2 raise for sizes and channels that they cannot change.
        except (ValueError, TypeError, AssertionError, cv2.error) as error:
            if isinstance(error, TypeError | AssertionError) and not _is_about_the_image(error):
                raise  # a fault of the augmentation, at every image
            raise BrokenImageError(
                f"{name}: {width}x{height} with {image.shape[2]} channels cannot be augmented "
                f"({_first_line(error)})"
            ) from error
        if 0 in augmented.image.shape:
            raise BrokenImageError(
                f"{name}: {width}x{height} has no pixels left after the augmentations"
            )
        return augmented.image, transforms

    def _instances(
        self, annotations: list[dict], transforms: T.Transform, shape: tuple[int, int]
    ) -> tuple[Instances, int]:
        """Ground truth of the augmented image, and the number of boxes dropped."""
        # As in Detectron2's mapper: crowds are no targets, so what the image shows in their area
        # counts as background.
        kept = [a for a in annotations if not a.get("iscrowd", 0)]
        boxes = _augmented_boxes(kept, transforms, shape)
        classes = torch.tensor([a["category_id"] for a in kept], dtype=torch.int64)
        sides = boxes[:, 2:] - boxes[:, :2]
        remains = (sides > self.min_box_side).all(dim=1)
        instances = Instances(tuple(shape))
        instances.gt_boxes = Boxes(boxes[remains])
        instances.gt_classes = classes[remains]
        return instances, int((~remains).sum())

    def _ignored(
        self, annotations: list[dict], transforms: T.Transform, shape: tuple[int, int]
    ) -> Instances:
        """Ignore regions of the augmented image."""
        crowds = [a for a in annotations if a.get("iscrowd", 0)]
        boxes = _augmented_boxes(crowds, transforms, shape)
        ignored = Instances(tuple(shape))
        ignored.gt_boxes = Boxes(boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)])
        return ignored


def _augmented_boxes(
    annotations: list[dict], transforms: T.Transform, shape: tuple[int, int]
) -> torch.Tensor:
    """Boxes (n, 4) XYXY of annotations in the augmented image, clipped to it."""
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    boxes = transforms.apply_box(np.asarray(boxes, dtype=np.float64).reshape(-1, 4))
    height, width = shape
    return torch.as_tensor(boxes.clip(0, [width, height, width, height]), dtype=torch.float32)


def _check_lengths(augmentations: Sequence[T.Augmentation | T.Transform]) -> None:
    """Raise for a range of lengths with its ends swapped, which fails only when one is drawn."""
    for index, augmentation in enumerate(augmentations):
        lengths = getattr(augmentation, "short_edge_length", None)
        if getattr(augmentation, "is_range", False) and not lengths[0] <= lengths[1]:
            raise ValueError(
                f"mapper.augmentations.{index}.short_edge_length={list(lengths)}: expected the "
                "smallest and the largest length"
            )


def _is_about_the_image(error: Exception) -> bool:
    """Whether the code that raised it is of a package that checks what it is given."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").partition(".")[0] in _ABOUT_IMAGES


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _to_tensor(image: np.ndarray, stored: np.dtype) -> torch.Tensor:
    """(H, W, C) to (C, H, W), in the type of the image that was augmented."""
    if image.dtype != np.uint8:  # some augmentations compute in floating point
        image = image.clip(0, 255)
        image = (image.round() if stored == np.uint8 else image).astype(stored)
    # Copied, since a flipped image is a view with negative strides, which torch refuses.
    return torch.from_numpy(image.transpose(2, 0, 1).copy())
