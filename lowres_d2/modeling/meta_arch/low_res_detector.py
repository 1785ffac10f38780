"""Resampler, detector, teacher and objectives, composed to one Detectron2 meta-architecture.

    images -> resampler -> detector -> losses or detections
        \\-> teacher -> taps -> objectives -> losses

Input images are CHW from 0 to 255; inside they are float32 in [0, 1]. Boxes are XYXY, in pixels of
the full-resolution image in inputs and outputs, and of the low-resolution image in the detector.
``lowres_d2.structures.frames`` defines the frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lowres_d2.modeling.ignored_regions import ignoring
from lowres_d2.modeling.meta_arch.detector_inputs import (
    detector_input,
    drop_small_objects,
    restore_output,
)
from lowres_d2.modeling.meta_arch.loss_terms import DETECTOR, LossTerms
from lowres_d2.modeling.objectives import Objective
from lowres_d2.modeling.resample import Resampler
from lowres_d2.modeling.teacher import Tap, TapRecorder, Teacher
from lowres_d2.structures import ObjectiveContext, check_factor_fits, image_sizes

import torch
from detectron2.utils.events import get_event_storage, has_event_storage
from jaxtyping import Float, Shaped
from torch import Tensor, nn


class LowResDetector(nn.Module):
    """Any Detectron2 detector or classifier, on images that a resampler has downsampled.

    Args:
        detector: unmodified model, called with ordinary Detectron2 inputs.
        resampler: downsamples the images before the detector.
        teacher: frozen network that sees the full-resolution images in training.
        objectives: extra losses, each with a name of its own.
        loss_weights: weights by pattern, such as ``{"feature/*": 0.5, "detector/loss_cls": 2}``;
            the first pattern that fits a loss decides, 1 if none does.
        min_box_size: objects whose shorter side is under this many low-resolution pixels are
            dropped from the ground truth and counted as ``[metric]low_res/dropped_boxes``.
    """

    def __init__(
        self,
        detector: nn.Module,
        resampler: Resampler,
        teacher: Teacher | None = None,
        objectives: Sequence[Objective] = (),
        loss_weights: Mapping[str, float] | None = None,
        min_box_size: float = 0.0,
    ) -> None:
        super().__init__()
        for name, part in (("detector", detector), ("resampler", resampler)):
            if not isinstance(part, nn.Module):
                raise ValueError(
                    f"model.{name} is a {type(part).__name__}: expected a network (torch.nn.Module)"
                )
        self.detector = detector
        self.resampler = resampler
        self.teacher = teacher
        self.objectives = _by_name(objectives)
        self.min_box_size = min_box_size
        self.loss_terms = LossTerms((DETECTOR, *self.objectives), loss_weights or {})
        student_taps = [tap for o in self.objectives.values() for tap in o.student_taps]
        self._student_recorder = TapRecorder(detector, student_taps)
        teacher_taps = [tap for o in self.objectives.values() for tap in o.teacher_taps]
        if teacher is not None:
            teacher.watch(teacher_taps)
        elif teacher_taps:
            raise ValueError(
                f"an objective needs the teacher's {teacher_taps[0].path!r}, but there is no "
                "teacher: set `teacher`"
            )

    @property
    def device(self) -> torch.device | None:
        """Device of the weights; None if there are none."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((tensor.device for tensor in tensors), None)

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Float[Tensor, ""]] | list[dict[str, Any]]:
        """Losses in training, detections in evaluation.

        Args:
            batched_inputs: a dict for each image, in Detectron2's format: ``image`` (C, H, W), 0 to
                255; ``instances`` with ``gt_boxes`` and ``gt_classes`` in training (``label`` for a
                classifier), and perhaps ``ignored`` with ``gt_boxes``, regions of which nothing is
                learned as background; ``height`` and ``width`` of the frame that detections are
                scaled to, by default the image's.

        Returns:
            In training weighted losses by name. In evaluation the detector's output for each image:
            ``{"instances": Instances}`` with ``pred_boxes``, ``scores`` and ``pred_classes``, or
            ``{"scores": ...}`` of a classifier.
        """
        batched_inputs = [{**x, "image": x["image"].to(self.device)} for x in batched_inputs]
        images = [_between_0_and_1(x["image"]) for x in batched_inputs]
        for x, size in zip(batched_inputs, image_sizes(images), strict=True):
            check_factor_fits(size, self.resampler.factor, x.get("file_name", "an image"))
        low_res = self._resample(images)
        inputs = [
            # Identity returns the image itself: the loader's own image is passed on, bit for bit.
            detector_input(x, None if low is full else low * 255, size, self.resampler.factor)
            for x, full, low, size in zip(
                batched_inputs, images, low_res, image_sizes(images), strict=True
            )
        ]
        if self.training:
            return self._losses(batched_inputs, inputs, images, low_res)
        return [
            restore_output(output, x, size, self.resampler.factor)
            for output, x, size in zip(
                self.detector(inputs), batched_inputs, image_sizes(images), strict=True
            )
        ]

    def _resample(
        self, images: list[Float[Tensor, "C _H _W"]]
    ) -> list[Float[Tensor, "low_C _H _W"]]:
        # Near 1, bfloat16 is no finer than bytes; the mean of several pixels needs more.
        with torch.autocast(images[0].device.type, enabled=False):
            return self.resampler(images)

    def _losses(
        self,
        batched_inputs: list[dict[str, Any]],
        inputs: list[dict[str, Any]],
        images: list[Float[Tensor, "C _H _W"]],
        low_res: list[Float[Tensor, "low_C _H _W"]],
    ) -> dict[str, Float[Tensor, ""]]:
        originals, inputs = self._without_small_objects(batched_inputs, inputs)
        active = [o for o in self.objectives.values() if self.loss_terms.may_count(o.name)]
        student_taps = {tap for o in active for tap in o.student_taps}
        teacher_taps = {tap for o in active for tap in o.teacher_taps}
        raw: dict[str, Mapping[str, Tensor]] = {}
        with self._student_recorder.recording(student_taps) as student:
            # The first stage (Algorithm 2) has only Eq. 5 and needs no detector.
            if student_taps or self.loss_terms.may_count(DETECTOR):
                ignored = [x["ignored"] for x in inputs if "ignored" in x]
                with ignoring(self.detector, ignored):
                    raw[DETECTOR] = self.detector(inputs)
        context = ObjectiveContext(
            images=images,
            low_res_images=low_res,
            ground_truth=[x.get("instances", x.get("label")) for x in originals],
            factor=self.resampler.factor,
            student_taps=student,
            teacher_taps=self._teach(images, teacher_taps),
            teacher=None if self.teacher is None else self.teacher.model,
            student=self.detector,
        )
        # float32: in float16 the square of a feature overflows from 256 on.
        with torch.autocast(images[0].device.type, enabled=False):
            raw |= {objective.name: objective(context) for objective in active}
        return self.loss_terms.combine(raw)

    def _without_small_objects(
        self, batched_inputs: list[dict[str, Any]], inputs: list[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        if not self.min_box_size:
            return batched_inputs, inputs
        triples = [
            drop_small_objects(x, y, self.min_box_size)
            for x, y in zip(batched_inputs, inputs, strict=True)
        ]
        if has_event_storage():
            dropped = sum(count for *_, count in triples)
            get_event_storage().put_scalar("[metric]low_res/dropped_boxes", dropped)
        return [x for x, *_ in triples], [y for _, y, _ in triples]

    def _teach(
        self, images: list[Float[Tensor, "C _H _W"]], taps: Collection[Tap]
    ) -> dict[Tap, list[Any]]:
        if not taps:
            return {}
        if self.teacher is None:
            raise ValueError(
                "training with this model's objectives needs its teacher, which pickling has "
                "dropped: build the model from its recipe"
            )
        return self.teacher(images, taps)

    def train(self, mode: bool = True) -> LowResDetector:
        """Training or evaluation mode; the teacher, which is no submodule, is loaded to train."""
        if mode and self.teacher is not None:
            self.teacher.load()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> LowResDetector:
        # `to`, `cuda`, `half` and the like call this; the teacher is no submodule.
        if self.teacher is not None:
            self.teacher.model._apply(fn)
        return super()._apply(fn, recurse)


def _between_0_and_1(image: Shaped[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
    # Dividing by 255 and multiplying by 255 restores every byte; multiplying by 1/255 does not.
    # uint8 is divided without a cast, which saves a pass over the image.
    return (image if image.dtype == torch.uint8 else image.float()) / 255


def _by_name(objectives: Sequence[Objective]) -> nn.ModuleDict:
    by_name = {objective.name: objective for objective in objectives}
    if len(by_name) < len(objectives) or DETECTOR in by_name:
        raise ValueError(
            f"objective names {[o.name for o in objectives]}: each needs a `name` of its own other "
            f"than '{DETECTOR}'"
        )
    return nn.ModuleDict(by_name)
