"""What an objective receives: one training step seen from the images and from both networks.

Images are float32 in [0, 1], CHW, each of its own size and in the channel order of the loader.
Boxes of the ground truth are XYXY in pixels of the full-resolution image.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lowres_d2.structures.frames import Size, image_sizes

from torch import Tensor, nn


@dataclass(frozen=True)
class ObjectiveContext:
    """One training step.

    Attributes:
        images: full-resolution images.
        low_res_images: what the resampler made of them; gradients flow into it from here.
        ground_truth: for each image its ``Instances`` in the full-resolution frame, the same
            objects in the same order as the detector got; for a classifier its label; else None.
        factor: full-resolution pixels in one low-resolution pixel.
        student_taps: for each tap of the detector what it captured, one entry per call.
        teacher_taps: the same for the teacher, without gradients.
        teacher: the teacher's network, for questions that only the student's answers raise.
    """

    images: list[Tensor]
    low_res_images: list[Tensor]
    ground_truth: list[Any]
    factor: Fraction
    student_taps: Mapping[Hashable, list[Tensor]]
    teacher_taps: Mapping[Hashable, list[Tensor]]
    teacher: nn.Module | None = None

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(height, width) of each full-resolution image."""
        return image_sizes(self.images)
