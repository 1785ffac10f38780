"""What a network receives of an image, after the mapper and its resampler.

Values are RGB float32 (h, w, 3) where 1 is white; a learned resampler may leave [0, 1]. Row j of
them covers [factor j, factor (j + 1)) of the stored image; columns do, times the stretch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lowres_d2.data import DetectionMapper
from lowres_d2.data.corners import cut_corner
from lowres_d2.data.image import reader_of
from lowres_d2.modeling.resample import Bicubic, Identity

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Seen:
    """What a network receives of one image.

    Attributes:
        values: RGB float32 (h, w, 3).
        factor: rows of the stored image per row of ``values``.
        stretch: columns per column, over that; 1 unless the mapper changes the aspect ratio.
        degradation: the image had so many times fewer rows and columns, and was enlarged again.
    """

    values: np.ndarray
    factor: float
    stretch: float = 1.0
    degradation: float = 1.0

    @property
    def size(self) -> str:
        """Width and height in words; of a degraded image also those that it had."""
        height, width = self.values.shape[:2]
        if self.degradation == 1:
            return f"{width} x {height} pixels"
        low_width, low_height = (math.ceil(side / self.degradation) for side in (width, height))
        return f"{low_width} x {low_height} pixels, enlarged to {width} x {height}"

    @property
    def pixels(self) -> np.ndarray:
        """For display: clipped to [0, 1], as uint8."""
        return (255 * self.values.clip(0, 1)).round().astype(np.uint8)

    def share_outside(self) -> np.ndarray:
        """Share of each channel's values (3,) outside [0, 1], which ``pixels`` clips."""
        return (np.abs(self.values - 0.5) > 0.5).mean((0, 1))


IN_MEMORY = "image"  # key of the pixels, RGB, in an entry of a data set that holds them
# From a Detectron2 dataset dict.
View = Callable[[Mapping], Seen]


def stored_view_of(mapper: Any = None) -> View:
    """The view of the image as it is stored, read as a recipe's mapper does.

    Its boxes are where that mapper has them, and its values are those of the network: rotation by
    EXIF, channels and the range of values are settings of the reader.

    Args:
        mapper: the mapper or its config; None: the reader's defaults.
    """
    # A run has read these images before, so their number of pixels is no question.
    reader = dataclasses.replace(reader_of(mapper), max_pixels=None)

    def view(entry: Mapping) -> Seen:
        if IN_MEMORY in entry:
            return Seen(shown_channels(entry[IN_MEMORY].float() / 255, "RGB"), 1.0)
        image = cut_corner(reader.show(entry["file_name"]), entry)
        return Seen(np.float32(image) / 255, 1.0)

    return view


def stored_view(entry: Mapping) -> Seen:
    """The image as it is stored, read with the defaults."""
    return stored_view_of()(entry)


def model_view(model: nn.Module, mapper: DetectionMapper | None = None) -> View:
    """The view of a model: what it receives after the mapper and its resampler.

    Args:
        model: a trained model, if its resampler has weights; one without ``resampler`` receives
            the mapper's output.
        mapper: the recipe's test mapper; None leaves the images unchanged, as those of a data set
            in memory always are.
    """
    read = mapper or DetectionMapper(is_train=False, image_format="RGB")
    resampler = getattr(model, "resampler", None)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    @torch.no_grad()
    def view(entry: Mapping) -> Seen:
        in_memory = IN_MEMORY in entry
        image = (entry if in_memory else read(dict(entry)))["image"]
        image = image[:, :, :]  # as a whole, where the mapper's is read window by window
        factor = entry["height"] / image.shape[-2]
        stretch = entry["width"] / image.shape[-1] / factor
        values = image.to(device).float() / 255
        if resampler is not None:
            values = resampler([values])[0]
            factor *= float(resampler.factor)
        image_format = "RGB" if in_memory else getattr(read, "image_format", "RGB")
        shown = shown_channels(values, image_format)
        return Seen(shown, factor, stretch, degradation_of(model))

    return view


def degradation_of(model: nn.Module) -> float:
    """How many times fewer rows the network's images had before they were enlarged again."""
    return float(getattr(getattr(model, "resampler", None), "degradation", 1))


def input_view(mapper: DetectionMapper) -> View:
    """What a resampler receives: the mapper's output."""
    return model_view(nn.Identity(), mapper)


def changes_images(model: nn.Module) -> bool:
    """Whether a model's network receives other pixels than the mapper gives it."""
    resampler = getattr(model, "resampler", None)
    if resampler is None:
        return False
    # Degradation and super-resolution leave the frame, and so the factor, as it was.
    return getattr(resampler, "factor", 1) != 1 or not isinstance(resampler, Identity | Bicubic)


def shown_channels(image: Tensor, image_format: str | None) -> np.ndarray:
    """A network's image (C, h, w) as RGB (h, w, 3).

    A grey image has one channel, repeated here; of more than three, the first are shown.

    Args:
        image: its values.
        image_format: the mapper's, which tells the order of the channels.
    """
    values = image.permute(1, 2, 0).float().cpu().numpy()
    values = values[..., : 3 if values.shape[2] >= 3 else 1]
    if image_format == "BGR":
        values = values[..., ::-1]
    return np.broadcast_to(values, (*values.shape[:2], 3))
