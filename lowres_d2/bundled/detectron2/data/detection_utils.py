"""What mappers are made of: reading images, transforming annotations, making Instances of them.

Images are arrays (H, W, C); sizes (height, width); boxes in pixels of the image whose size is
given. Formats are PIL's modes and "BGR" and "YUV-BT.601" (float, from RGB in 0..1).
"""

# ruff: noqa: NPY002 (Detectron2 draws from numpy's global generator; so must we)

from __future__ import annotations

import contextlib
import logging
import os

import numpy as np
import torch
from detectron2._uncovered import needs_upstream, uncovered
from detectron2.structures import Boxes, BoxMode, Instances
from detectron2.utils.file_io import PathManager
from PIL import Image, ImageOps

from . import transforms as T
from .catalog import MetadataCatalog

__all__ = [
    "SizeMismatchError",
    "annotations_to_instances",
    "annotations_to_instances_rotated",
    "build_augmentation",
    "build_transform_gen",
    "check_image_size",
    "check_metadata_consistency",
    "convert_PIL_to_numpy",
    "convert_image_to_rgb",
    "create_keypoint_hflip_indices",
    "filter_empty_instances",
    "gen_crop_transform_with_instance",
    "read_image",
    "transform_instance_annotations",
    "transform_keypoint_annotations",
    "transform_proposals",
]

annotations_to_instances_rotated = uncovered("annotations_to_instances_rotated")
build_augmentation = uncovered("build_augmentation")
build_transform_gen = uncovered("build_transform_gen")
create_keypoint_hflip_indices = uncovered("create_keypoint_hflip_indices")
get_fed_loss_cls_weights = uncovered("get_fed_loss_cls_weights")
load_proposals_into_dataset = uncovered("load_proposals_into_dataset")
transform_keypoint_annotations = uncovered("transform_keypoint_annotations")
transform_proposals = uncovered("transform_proposals")

logger = logging.getLogger(__name__)

YUV_FROM_RGB = np.array(
    [[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]]
)
RGB_FROM_YUV = np.array([[1.0, 0.0, 1.13983], [1.0, -0.39465, -0.58060], [1.0, 2.03211, 0.0]])


class SizeMismatchError(ValueError):
    """An image's size is not the one its dataset dict states."""


def read_image(file_name: str, format: str | None = None) -> np.ndarray:
    """Read an image, turned as its EXIF orientation says.

    Args:
        file_name: a path or anything the PathManager knows.
        format: a PIL mode, "BGR" or "YUV-BT.601"; None is the file's own.

    Returns:
        (H, W, C), uint8 in 0..255 (float for YUV); "L" has C = 1; a grey file without `format` is
        (H, W).

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is not an image, it is broken, it has more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS` allows, or more bits than `format` can hold.
    """
    if os.path.exists(file_name) and not os.path.isfile(file_name):
        # Reading a pipe would wait forever.
        raise OSError(f"{file_name}: not a file, but a folder, pipe or device")
    with PathManager.open(file_name, "rb") as file:
        try:
            image = Image.open(file)
            if format is not None and image.mode.startswith(("I", "F")):
                raise OSError(
                    f"mode {image.mode} has more than 8 bits, of which converting it to {format} "
                    "leaves 255: convert the file, or read it with lowres_d2's DetectionMapper"
                )
            image.load()
            with contextlib.suppress(Exception):  # broken EXIF data say nothing against the pixels
                ImageOps.exif_transpose(image, in_place=True)
            return convert_PIL_to_numpy(image, format)
        # PIL raises SyntaxError for broken PNG files.
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise OSError(f"{file_name}: not an image that can be read ({error})") from error


def convert_PIL_to_numpy(image: Image.Image, format: str | None) -> np.ndarray:
    """A PIL image as an array (H, W, C) of the given format; None is the image's own mode."""
    if format is None:
        return np.asarray(image)
    array = np.asarray(image.convert("RGB" if format in ("BGR", "YUV-BT.601") else format))
    if format == "L":
        return array[:, :, None]
    if format == "BGR":
        return array[:, :, ::-1]
    if format == "YUV-BT.601":
        return (array / 255.0) @ YUV_FROM_RGB.T
    return array


def convert_image_to_rgb(image: np.ndarray | torch.Tensor, format: str | None) -> np.ndarray:
    """An image (H, W, C) of the given format as RGB in 0..255: uint8, but float from YUV."""
    if isinstance(image, torch.Tensor):
        image = image.cpu().numpy()
    image = np.asarray(image)
    if format == "BGR":
        return image[:, :, ::-1]
    if format == "YUV-BT.601":
        return image @ RGB_FROM_YUV.T * 255.0
    if format in (None, "RGB"):
        return image.astype(np.uint8)
    if format == "L":
        return np.repeat(image.astype(np.uint8).reshape(*image.shape[:2], 1), 3, axis=2)
    raise ValueError(f"convert_image_to_rgb: unknown format {format!r}")


def check_image_size(dataset_dict: dict, image: np.ndarray) -> None:
    """Compare an image with the size its dict states, and fill in what it does not state."""
    height, width = image.shape[:2]
    stated = dataset_dict.get("height", height), dataset_dict.get("width", width)
    if stated != (height, width):
        raise SizeMismatchError(
            f"{dataset_dict.get('file_name', 'an image')} is {width}x{height} (width x height), "
            f"but its annotation says {stated[1]}x{stated[0]}: wrong file, or one that was resized "
            "or rotated after it was annotated"
        )
    dataset_dict["height"], dataset_dict["width"] = height, width


def transform_instance_annotations(
    annotation: dict,
    transforms: T.Transform | list[T.Transform],
    image_size: tuple[int, int],
    *,
    keypoint_hflip_indices: np.ndarray | None = None,
) -> dict:
    """Transform one object's annotation, in place.

    Args:
        annotation: with `bbox` and `bbox_mode`.
        transforms: what was applied to the image.
        image_size: size of the transformed image, which the box is clipped to.
        keypoint_hflip_indices: needs upstream.

    Returns:
        The same dict; `bbox` is an array (4,) and `bbox_mode` XYXY_ABS.
    """
    _refuse_masks_and_keypoints(annotation)
    if isinstance(transforms, list | tuple):
        transforms = T.TransformList(transforms)
    box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
    height, width = image_size
    moved = transforms.apply_box(np.array([box]))[0].clip(min=0)
    annotation["bbox"] = np.minimum(moved, [width, height, width, height])
    annotation["bbox_mode"] = BoxMode.XYXY_ABS
    return annotation


def _refuse_masks_and_keypoints(annotation: dict) -> None:
    for key in ("segmentation", "keypoints"):
        if annotation.get(key) is not None:
            needs_upstream(f"an annotation with {key!r} (remove that key to use its box)")


def annotations_to_instances(
    annos: list[dict], image_size: tuple[int, int], mask_format: str = "polygon"
) -> Instances:
    """Ground truth of one image as a model takes it.

    Args:
        annos: with `bbox`, `bbox_mode` and, in all or none, `category_id`.
        image_size: size of the image.
        mask_format: of masks, which need upstream.

    Returns:
        Instances with `gt_boxes` and, for an image with objects that state it, `gt_classes` int64.
    """
    for annotation in annos:
        _refuse_masks_and_keypoints(annotation)
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annos]
    target = Instances(image_size)
    target.gt_boxes = Boxes(np.stack(boxes) if boxes else np.zeros((0, 4)))
    if all("category_id" in a for a in annos):
        classes = [int(a["category_id"]) for a in annos]
        target.gt_classes = torch.tensor(classes, dtype=torch.int64)
    return target


def filter_empty_instances(
    instances: Instances,
    by_box: bool = True,
    by_mask: bool = True,
    box_threshold: float = 1e-5,
    return_mask: bool = False,
) -> Instances | tuple[Instances, torch.Tensor]:
    """Leave out objects without area.

    Args:
        instances: with `gt_boxes`.
        by_box: look at the boxes.
        by_mask: look at the masks, where there are some.
        box_threshold: smallest width and height, in pixels, that is more than empty.
        return_mask: also return which were kept.
    """
    if not (by_box or by_mask):
        raise ValueError("filter_empty_instances: by_box and by_mask are both False")
    kept = torch.ones(len(instances), dtype=torch.bool)
    if by_box:
        kept = instances.gt_boxes.nonempty(threshold=box_threshold)
    if by_mask and instances.has("gt_masks"):
        kept = kept & instances.gt_masks.nonempty()
    return (instances[kept], kept) if return_mask else instances[kept]


def gen_crop_transform_with_instance(
    crop_size: tuple[int, int], image_size: tuple[int, int], instance: dict
) -> T.CropTransform:
    """A random crop that contains the centre of an object.

    Args:
        crop_size: of the crop; cut down to the image's.
        image_size: of the image.
        instance: annotation of the object.
    """
    size = np.asarray(image_size, dtype=np.int32)
    crop = np.minimum(np.asarray(crop_size, dtype=np.int32), size)
    x0, y0, x1, y1 = BoxMode.convert(instance["bbox"], instance["bbox_mode"], BoxMode.XYXY_ABS)
    center = np.array([(y0 + y1) * 0.5, (x0 + x1) * 0.5])
    if (center > size).any():  # AssertionError as upstream raises it
        raise AssertionError(
            f"the box {instance['bbox']} has its centre outside an image of {size}"
        )
    low = np.maximum(np.floor(center).astype(np.int32) - crop, 0)
    high = np.minimum(np.maximum(size - crop, 0), np.ceil(center).astype(np.int32))
    top = np.random.randint(low[0], high[0] + 1)
    left = np.random.randint(low[1], high[1] + 1)
    return T.CropTransform(left, top, int(crop[1]), int(crop[0]))


def check_metadata_consistency(key: str, dataset_names: list[str]) -> None:
    """Raise ValueError unless all these data sets have the same metadata `key`, or none has it."""
    values = [MetadataCatalog.get(name).get(key) for name in dataset_names]
    for name, value in zip(dataset_names, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"data sets {dataset_names[0]!r} and {name!r} cannot be joined: their {key} "
                f"differ: {values[0]} and {value}"
            )
