"""Is the teacher one that can be learned from? Asked before the first step."""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.engine.build import check_classes, check_trained_classes
from lowres_d2.modeling.teacher import Teacher


def check_teacher_fits(teacher: Teacher, classes: Sequence[str] | None) -> None:
    """Load the teacher's weights and hold its classes against the data's.

    Args:
        teacher: of the model that is to be trained.
        classes: of the data; None where it does not say.

    Raises:
        ValueError: it has no weights, or predicts other classes.
        FileNotFoundError: its weights are not there.
    """
    if teacher.lacks_weights:
        raise ValueError(
            "the teacher has no weights: set model.teacher.checkpoint=FILE (a checkpoint of the "
            "full-resolution recipe, or a zoo file), or null to take the network as it is built"
        )
    if classes is not None:
        check_classes(teacher.model, list(classes), "model.teacher.model")
    teacher.load()
    if classes is not None and teacher.report is not None:
        check_trained_classes(teacher.report, classes)
