"""A student that starts as its teacher (config: ``train.student_from_teacher``).

All of the student's tensors have to come from the teacher. Where the two networks are unlike on
purpose, ``train.init_checkpoint`` with the teacher's file and ``--allow-partial`` takes what fits
and lists the rest.
"""

from __future__ import annotations

import logging

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.weights import LoadReport, fill_model

import torch
from torch import nn

logger = logging.getLogger(__name__)

KEY = "train.student_from_teacher"


def start_from_teacher(model: nn.Module) -> LoadReport:
    """Copy the teacher's weights, under the same names, into the student's detector.

    Args:
        model: a composition with a teacher; resampler and objectives stay as they are.

    Raises:
        ValueError: there is no teacher, or a tensor of the student cannot come from it.
    """
    teacher = model.teacher if isinstance(model, LowResDetector) else None
    if teacher is None:
        raise ValueError(f"{KEY} is set, but the model has no teacher: set model.teacher, or false")
    teacher.load()
    student = model.detector
    _check_same_images(student, teacher.model, teacher.flip_channels)
    report = fill_model(student, {"model": teacher.model.state_dict()}, "student from teacher")
    wrong = [*report.misshapen, *report.missing]
    if wrong:
        ours, theirs = student.state_dict()[wrong[0]], teacher.model.state_dict().get(wrong[0])
        what = "no such tensor" if theirs is None else f"one of {tuple(theirs.shape)}"
        raise ValueError(
            f"{KEY}: {len(wrong)} of {report.total} tensors do not fit, first {wrong[0]} of "
            f"{tuple(ours.shape)}, the teacher has {what}: make model.detector like "
            "model.teacher.model, or give the teacher's file as train.init_checkpoint, which with "
            "--allow-partial takes what fits"
        )
    logger.info("%s", report)
    return report


def _check_same_images(student: nn.Module, teacher: nn.Module, flipped: bool) -> None:
    """Weights mean the same only to a network that reads the same channels on the same scale."""
    if flipped:
        raise ValueError(
            f"{KEY}: the teacher reads its channels in the other order (flip_channels): load the "
            "images in its order (dataloader.train.mapper.image_format) and set "
            "model.teacher.flip_channels=false"
        )
    for name in ("pixel_mean", "pixel_std"):
        ours, theirs = getattr(student, name, None), getattr(teacher, name, None)
        if ours is not None and theirs is not None and not torch.equal(ours, theirs):
            raise ValueError(
                f"{KEY}: model.detector.{name} is {ours.flatten().tolist()}, the teacher's "
                f"{theirs.flatten().tolist()}: make them equal"
            )
