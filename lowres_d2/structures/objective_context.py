"""What an objective receives: images, ground truth and captured features of one iteration.

Images are float32 in [0, 1], CHW, each of its own size and in the channel order of the loader.
Boxes of the ground truth are XYXY in pixels of the full-resolution image.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lowres_d2.structures.frames import Size, image_sizes

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class ObjectiveContext:
    """One iteration of training.

    Attributes:
        images: full-resolution images.
        low_res_images: the resampler's outputs; objectives can train the resampler through them.
        ground_truth: for each image, its ``Instances`` in the full-resolution frame, the same
            objects in the same order as the detector's; for a classifier, its label; else None.
        factor: full-resolution pixels in one low-resolution pixel.
        student_taps: for each tap of the detector, what it captured, one entry per call.
        teacher_taps: the same for the teacher, without gradients.
        teacher: the teacher's network, for objectives that call its heads or layers themselves.
        student: the detector in training, for losses of its weights.
    """

    images: list[Float[Tensor, "C _H _W"]]
    low_res_images: list[Float[Tensor, "low_C _H _W"]]
    ground_truth: list[Any]
    factor: Fraction
    student_taps: Mapping[Hashable, list[Any]]
    teacher_taps: Mapping[Hashable, list[Any]]
    teacher: nn.Module | None = None
    student: nn.Module | None = None

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(height, width) of each full-resolution image."""
        return image_sizes(self.images)
