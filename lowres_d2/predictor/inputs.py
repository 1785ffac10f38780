"""Images of any kind as a model's inputs: files, Pillow's images, arrays and tensors.

All of them pass the recipe's mapper for evaluation, so that channels, depths, EXIF's rotation and
sizes are treated as in evaluation. H x W pixels, C channels.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.image import NARROW, ImageReader, UnfitImageError, reader_of
from lowres_d2.data.image.decode import Decoded, decode, decode_array, decode_pillow

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_logger = logging.getLogger(__name__)
# Orders of an array's channels: which channel of it is red, green, blue (and alpha).
ORDERS = {"RGB": [0, 1, 2], "BGR": [2, 1, 0], "RGBA": [0, 1, 2, 3], "BGRA": [2, 1, 0, 3]}
AnyImage = str | os.PathLike | bytes | Image.Image | np.ndarray | Tensor
KINDS = "a path, the bytes of a file, an image of Pillow, an array (H, W, C) or a tensor (C, H, W)"


class Inputs:
    """Makes inputs of a model.

    Args:
        mapper: the recipe's, for evaluation.
    """

    def __init__(self, mapper: Callable[[dict], dict | None]) -> None:
        self.mapper = mapper
        self.reader = reader_of(mapper)
        self._said = False  # that an image's values span little

    def __call__(
        self,
        image: AnyImage,
        name: str,
        channel_order: str = "RGB",
        value_range: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """The input of one image.

        Args:
            image: see :class:`lowres_d2.predictor.Predictor`.
            name: of an image in memory, for messages.
            channel_order: of an array or tensor.
            value_range: of the image, in place of the recipe's.

        Raises:
            BrokenImageError: the image cannot be used; names it.
            ValueError: an argument is not valid, or not for this recipe's mapper.
        """
        if isinstance(image, str | os.PathLike):
            return self._of_file(os.fspath(image), value_range)
        if not isinstance(self.mapper, DetectionMapper):
            raise ValueError(
                f"{name}: this recipe's mapper, a {type(self.mapper).__name__}, takes files alone: "
                "give a path"
            )
        return self.mapper.sample_of_pixels(
            self._pixels(image, name, channel_order, value_range), name
        )

    def _of_file(self, path: str, value_range: Sequence[float] | None) -> dict[str, Any]:
        if "://" not in path and not Path(path).is_file():
            raise BrokenImageError(f"{path}: {_what_else(Path(path))}")
        record = {"file_name": path, "image_id": 0}
        if isinstance(self.mapper, DetectionMapper):
            return self._mapper_with(value_range).sample_of_file(record)
        if value_range is not None:
            raise ValueError(
                f"{path}: value_range is nothing that this recipe's mapper, a "
                f"{type(self.mapper).__name__}, takes: leave it out for files"
            )
        sample = self.mapper(record)
        if sample is None:
            raise BrokenImageError(f"{path}: cannot be read as an image")
        return sample

    def _mapper_with(self, value_range: Sequence[float] | None) -> DetectionMapper:
        """The mapper, which reads files with this range, if there is one."""
        if value_range is None:
            return self.mapper
        mapper = copy.copy(self.mapper)
        mapper.reader = dataclasses.replace(mapper.reader, value_range=value_range)
        return mapper

    def _pixels(
        self, image: Any, name: str, order: str, value_range: Sequence[float] | None
    ) -> np.ndarray:
        """An image in memory as the reader gives those of files: (H, W, C), 0 to 255."""
        reader = self.reader
        if value_range is not None:
            reader = dataclasses.replace(reader, value_range=value_range)
        try:
            if isinstance(image, Image.Image):
                decoded = decode_pillow(image, reader.mode, reader.max_pixels)
            elif isinstance(image, bytes):
                decoded = decode(io.BytesIO(image), reader.mode, reader.max_pixels)
            else:
                decoded = _decoded(image, order, wants_channels=reader.image_format is not None)
            if decoded.top is None and reader.value_range is None:
                low, high = decoded.values.min(), decoded.values.max()
                raise UnfitImageError(
                    f"its values, {low:g} to {high:g}, are {decoded.values.dtype.name}, which has "
                    "no known range: give value_range=(0, 1), or whichever values are black and "
                    "white"
                )
            pixels = reader.upright(decoded)
        # What Pillow raises for broken files, see `ImageReader.read`.
        except (OSError, SyntaxError, ValueError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise BrokenImageError(f"{name}: {first}") from None
        self._warn_of_few_values(pixels, decoded, reader, name)
        return pixels

    def _warn_of_few_values(
        self, pixels: np.ndarray, decoded: Decoded, reader: ImageReader, name: str
    ) -> None:
        """As the mapper does of the first deep file whose pixels are nearly of one value."""
        if pixels.dtype == np.uint8 or self._said or np.ptp(pixels) >= NARROW:
            return
        fault = reader.narrow_fault(decoded.values)
        if fault:
            self._said = True
            _logger.warning("%s: %s (said of the first such image only)", name, fault)


def _what_else(path: Path) -> str:
    if path.is_dir():
        return "is a folder: give its images"
    return "is no regular file, but a pipe or device" if path.exists() else "no such image"


def _decoded(image: Any, order: str, wants_channels: bool) -> Decoded:
    """An array or tensor, its channels in the order of a file's."""
    if isinstance(image, Tensor):
        if image.dim() not in (2, 3):
            raise ValueError(f"is a tensor of shape {tuple(image.shape)}: expected (C, H, W)")
        image = image.detach().cpu()
        image = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
        image = image if image.ndim == 2 else image.transpose(1, 2, 0)
    elif not isinstance(image, np.ndarray):
        raise ValueError(f"is a {type(image).__name__}: expected {KINDS}")
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels > 4 and wants_channels and image.shape[0] in (1, 3, 4):
        raise ValueError(
            f"is an array of shape {image.shape}: expected (height, width, channels); a tensor has "
            "(channels, height, width)"
        )
    places = ORDERS[order]
    if channels != 1 and order != "RGB":
        if channels != len(places):
            raise ValueError(f"has {channels} channels, and channel_order={order!r} {len(places)}")
        image = image[..., places] if places != [2, 1, 0] else image[..., ::-1]
    return decode_array(image, "RGBA" if channels == 4 == len(places) else "")
