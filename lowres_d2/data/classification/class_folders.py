"""A folder of image files for each class, read into memory at one size."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.aug_input import ImageInput
from lowres_d2.data.classification.arrays import ImageArrays
from lowres_d2.data.classification.class_splits import class_root
from lowres_d2.data.classification.crops import ResizedCenterCrop
from lowres_d2.data.classification.folder_files import ClassFolderFiles, warn_of_no_images
from lowres_d2.data.classification.labelled import check_choice
from lowres_d2.data.datasets.json_values import shortened
from lowres_d2.data.image import MAX_PIXELS, ImageReader, UnfitImageError
from lowres_d2.data.mapper import BrokenImageError

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

_logger = logging.getLogger(__name__)
# Of reading images, which recipes have in ``data``; images are RGB.
_SETTINGS = ("value_range", "max_pixels")


class ClassFolders(ImageArrays):
    """Images in one folder for each class, named after it, in memory as ``size`` x ``size``.

    Their shorter side becomes ``size`` pixels, and the middle of the longer one is kept. For images
    that should not be held in memory, there are ``ClassFolderFiles`` and ``ClassificationMapper``.

    Args:
        root: folder of the class folders; None: it is found in ``path``.
        size: height and width of the images.
        classes: classes to use, in this order; None: all, in alphabetical order.
        may_lack_classes: whether some of ``classes`` may have no images, as a test set.
        on_broken: an image that cannot be read is an "error", or it is left out, "skip".
        value_range: values of the files that become 0 and 255; None: 0 and the largest value of
            each file's depth.
        max_pixels: the most pixels that a file may have; None: any number.
        path: folder of the splits' folders, in place of ``root``.
        evaluated: whether the split to evaluate on is meant, of ``path``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a class has no images, or none that can be read, or an image cannot be read.
    """

    def __init__(
        self,
        root: str | Path | None,
        size: int,
        classes: Sequence[str] | None = None,
        may_lack_classes: bool = False,
        on_broken: str = "error",
        value_range: Sequence[float] | None = None,
        max_pixels: int | None = MAX_PIXELS,
        path: str | Path | None = None,
        evaluated: bool = False,
    ) -> None:
        root = class_root(root, path, evaluated)
        check_choice("on_broken", on_broken, ["error", "skip"])
        reader = ImageReader("RGB", value_range, max_pixels)
        crop = ResizedCenterCrop(size)
        files = ClassFolderFiles(root, classes, may_lack_classes)
        _logger.info("%s: reading %d images", files.source, len(files))
        images, names, labels = [], [], []
        for record in files:
            try:
                image = _read(record["file_name"], reader, crop)
            except BrokenImageError as error:
                if on_broken == "error":
                    raise
                _logger.warning("skipped: %s", error)
                continue
            images.append(image)
            names.append(record["file_name"])
            labels.append(record["label"])
        if not images:
            raise ValueError(f"{files.source}: none of its {len(files)} images can be read")
        lost = [files.classes[k] for k in sorted({*files.labels} - {*labels})]
        if lost and not may_lack_classes:
            raise ValueError(
                f"{files.source}: no image of class {shortened(lost)} can be read; replace some, "
                "or leave the class out"
            )
        if lost:
            warn_of_no_images(files.source, lost)
        super().__init__(torch.stack(images), labels, files.classes, files.source, names)


def _read(name: str, reader: ImageReader, crop: ResizedCenterCrop) -> UInt8[Tensor, "3 H W"]:
    try:
        image = ImageInput(reader.read(name))
        crop(image)
    except UnfitImageError as error:
        known = error.setting.partition("=")[0] in ("", *_SETTINGS)
        advice = error.advice("data") if known else f"{error.fault}: store it as RGB"
        raise BrokenImageError(f"{name}: {advice}, or set data.on_broken=skip") from None
    # What Pillow raises for broken files, see `ImageReader.read`.
    except (OSError, SyntaxError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BrokenImageError(
            f"{name}: cannot be read as an image ({first}); replace it, or set data.on_broken=skip"
        ) from None
    pixels = image.image if image.image.dtype == np.uint8 else image.image.round().clip(0, 255)
    return torch.from_numpy(pixels.astype(np.uint8).transpose(2, 0, 1).copy())
