"""A trained detector or classifier: from images to what is on them.

    images -> the recipe's mapper -> model -> Instances in the original images' pixels

Programs and users have no other way. Boxes are XYXY, in pixels of the image as it was given, after
EXIF's rotation where the recipe applies that.
"""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from lowres_d2.predictor.info import Info
from lowres_d2.predictor.inputs import ORDERS, AnyImage, Inputs

import numpy as np
import torch
from detectron2.structures import Instances
from jaxtyping import Float
from PIL import Image
from torch import Tensor

Model = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Classification:
    """What a classifier takes one image for.

    Attributes:
        scores: probability of each class, on the CPU.
    """

    scores: Float[Tensor, " K"]

    @property
    def label(self) -> int:
        """Index of the most probable class in ``class_names``."""
        return int(self.scores.argmax())

    @property
    def score(self) -> float:
        """Its probability."""
        return float(self.scores.max())


class Predictor:
    """Finds objects on images of any kind, or tells what they are of; :func:`load` makes one.

    A path (or an address that Detectron2's PathManager resolves) is read as the recipe's mapper
    reads it in evaluation, and so are the bytes of a file; an image of Pillow likewise, of which
    16-bit colours have 8 bits. Arrays are (H, W) or (H, W, C), tensors (H, W) or (C, H, W); uint8
    and uint16 have the range of their type, other numbers need ``value_range``. More axes are a
    batch. Sizes and kinds may differ.

    Args:
        model: in evaluation mode; takes and gives lists of dicts, as Detectron2's models do.
        mapper: of evaluation, from a dataset dict to the model's input.
        class_names: in the order of the labels.
        describe: gives :attr:`info`, which counts MACs, on an input or, for None, on one of the
            usual size.
        knows: what a quick model was trained on, and knows alone; empty: not known.

    Attributes:
        class_names: names of the classes; ``class_names[label]`` is that of a label.
        knows: as given.
    """

    def __init__(
        self,
        model: Model,
        mapper: Callable[[dict], dict | None],
        class_names: Sequence[str],
        describe: Callable[[Predictor, dict[str, Any] | None], Info],
        knows: str = "",
    ) -> None:
        self.model, self.class_names, self.knows = model, list(class_names), knows
        self._inputs, self._describe = Inputs(mapper), describe

    def __repr__(self) -> str:
        known = f", which knows {self.knows} and nothing else" if self.knows else ""
        return f"<{type(self).__name__} of {len(self.class_names)} classes{known}>"

    @property
    def mapper(self) -> Callable[[dict], dict | None]:
        """The recipe's mapper for evaluation, which loaders may use in processes of their own."""
        return self._inputs.mapper

    @cached_property
    def info(self) -> Info:
        """Factor, resampler, MACs, classes, recipe; the MACs are counted at the first use."""
        return self._describe(self, None)

    def info_on(self, inputs: dict[str, Any]) -> Info:
        """:attr:`info` with the MACs of one image.

        Args:
            inputs: of the image, from :meth:`prepare`.
        """
        return self._describe(self, inputs)

    def __call__(
        self,
        images: AnyImage | Iterable[AnyImage],
        score: float = 0.3,
        *,
        channel_order: str = "RGB",
        value_range: Sequence[float] | None = None,
        batch_size: int = 8,
    ) -> Instances | Classification | list[Instances] | list[Classification]:
        """What is on an image, or on each of several.

        Args:
            images: one image, or a list, a batch, or any other iterable of them, which is read as
                it is needed.
            score: detections of lower scores are left out.
            channel_order: of arrays and tensors with several channels: RGB, BGR (OpenCV's), RGBA
                or BGRA.
            value_range: values of the images that become black and white, such as (0, 1), in place
                of the recipe's.
            batch_size: of images that the model gets at once, those of one size together; the
                results do not depend on it.

        Returns:
            Of one image Detectron2's ``Instances`` on the CPU, with ``pred_boxes``, ``scores`` and
            ``pred_classes``, or of a classifier a :class:`Classification`; of several a list.

        Raises:
            BrokenImageError: an image cannot be read, or the model cannot take it; names it.
            ValueError: an argument is not valid.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"score={score}: expected 0 to 1")
        if channel_order not in ORDERS:
            raise ValueError(f"channel_order={channel_order!r}: expected {', '.join(ORDERS)}")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: expected 1 or more")
        given = (channel_order, value_range)
        if _is_one(images):
            return self.detect([self.prepare(images, "the image", *given)], score)[0]
        inputs = (self.prepare(x, f"image {k}", *given) for k, x in enumerate(images))
        results: list = []
        while batch := list(islice(inputs, batch_size)):
            results += self.detect(batch, score)
        return results

    def prepare(
        self,
        image: AnyImage,
        name: str = "the image",
        channel_order: str = "RGB",
        value_range: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """The model's input of an image: a piece of a call, whose arguments these are.

        Args:
            image: one image.
            name: of an image in memory, for messages.
            channel_order: as for a call.
            value_range: likewise.

        Raises:
            BrokenImageError: it cannot be read.
        """
        return self._inputs(image, name, channel_order, value_range)

    @torch.no_grad()
    def detect(
        self, inputs: Sequence[dict[str, Any]], score: float = 0.0
    ) -> list[Instances] | list[Classification]:
        """What is on images that the mapper has read.

        Args:
            inputs: the mapper's; those of one size are a batch, so that none has padding, and
                detections are those of each image alone.
            score: detections of lower scores are left out; 0: all stay, also those that are NaN.

        Raises:
            ValueError: the model cannot take an image, or gives neither boxes nor scores.
        """
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, x in enumerate(inputs):
            alike[tuple(x["image"].shape)].append(index)
        found: dict[int, Any] = {}
        for indices in alike.values():
            outputs = self.model([inputs[k] for k in indices])
            found.update(zip(indices, outputs, strict=True))
        return [_result(found[k], score) for k in range(len(inputs))]


def _is_one(images: Any) -> bool:
    """Whether this is one image; what is none is one that will be refused."""
    if isinstance(images, np.ndarray | Tensor):
        return images.ndim != 4
    # The last ones would be taken apart into bytes, lines and keys.
    one = str | os.PathLike | bytes | Image.Image | bytearray | memoryview | io.IOBase | Mapping
    return isinstance(images, one) or not isinstance(images, Iterable)


def _result(output: dict[str, Any], score: float) -> Instances | Classification:
    if "instances" in output:
        found = output["instances"].to("cpu")
        return found[found.scores >= score] if score else found
    if "scores" in output:
        return Classification(output["scores"].cpu())
    raise ValueError(
        f"the model gives {', '.join(output)}: expected instances, or a class's scores"
    )
