"""Start a student with its teacher's weights (config: ``train.student_from_teacher``).

Every tensor of the student has to come from the teacher. Only the input channels that a thumbnail
has beyond the teacher's image are new: their weights start at zero, so that the student starts as
on the first channels alone. If the two networks differ otherwise on purpose,
``train.init_checkpoint`` with the teacher's file and ``--allow-partial`` loads what fits and lists
the rest.
"""

from __future__ import annotations

import logging

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.weights import LoadReport, fill_model

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

KEY = "train.student_from_teacher"


def start_from_teacher(model: nn.Module) -> LoadReport:
    """Copy the teacher's weights, by name, into the student's detector.

    Args:
        model: a composition with a teacher; its resampler and objectives are not changed.

    Raises:
        ValueError: there is no teacher, or a tensor of the student cannot come from it.
    """
    teacher = model.teacher if isinstance(model, LowResDetector) else None
    if teacher is None:
        raise ValueError(
            f"{KEY} is set, but the model has no teacher: set model.teacher, or {KEY}=false"
        )
    teacher.load()
    student = model.detector
    _check_same_images(student, teacher.model, teacher.flip_channels)
    weights = _with_more_inputs(student, teacher.model)
    report = fill_model(student, {"model": weights}, "the teacher")
    wrong = [*report.misshapen, *report.missing]
    if wrong:
        ours, theirs = student.state_dict()[wrong[0]], teacher.model.state_dict().get(wrong[0])
        what = "no such tensor" if theirs is None else f"shape {tuple(theirs.shape)}"
        raise ValueError(
            f"{KEY}: {len(wrong)} of {report.total} tensors do not fit; the first is {wrong[0]} of "
            f"shape {tuple(ours.shape)}, the teacher has {what}: make model.detector the same "
            "network as model.teacher.model, or set train.init_checkpoint to the teacher's file, "
            "which with --allow-partial loads what fits"
        )
    logger.info("%s", report)
    return report


def _with_more_inputs(student: nn.Module, teacher: nn.Module) -> dict[str, Tensor]:
    """The teacher's weights; those of layers that read the image get zeros for more channels."""
    weights = dict(teacher.state_dict())
    ours, theirs = (len(getattr(model, "pixel_mean", ())) for model in (student, teacher))
    for name, own in student.state_dict().items():
        weight = weights.get(name)
        if weight is None or own.dim() != 4 or ours == theirs:
            continue
        if (own.shape[1], weight.shape[1]) == (ours, theirs):
            more = own.new_zeros(own[:, theirs:].shape)
            weights[name] = torch.cat([weight.to(more), more], dim=1)
    return weights


def _check_same_images(student: nn.Module, teacher: nn.Module, flipped: bool) -> None:
    """Weights are valid only in a network that reads channels in the same order and scale."""
    if flipped:
        raise ValueError(
            f"{KEY}: the teacher reads channels in the opposite order (flip_channels): load images "
            "in its order (dataloader.train.mapper.image_format) and set "
            "model.teacher.flip_channels=false"
        )
    for name in ("pixel_mean", "pixel_std"):
        ours, theirs = getattr(student, name, None), getattr(teacher, name, None)
        # Channels beyond the teacher's are the thumbnail's own.
        if ours is not None and theirs is not None and not torch.equal(ours[: len(theirs)], theirs):
            raise ValueError(
                f"{KEY}: model.detector.{name} is {ours.flatten().tolist()}, the teacher's "
                f"{theirs.flatten().tolist()}: make them equal"
            )
