"""Predictions of the dense heads (FCOS, RetinaNet) of student and teacher, level by level.

Taps are at the heads' last convolutions, which run once per level, in order of the levels. With
``cross_head`` the input of the student's last convolutions goes through the teacher's last
convolutions to give the student's predictions. The student's own last convolutions then learn from
the ground truth alone, without a second target that may contradict it (Wang et al., "CrossKD:
Cross-Head Knowledge Distillation for Dense Object Detection", 2023).

Channels of a head's output are anchor after anchor: A K class logits, A 4 deltas.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from lowres_d2.modeling.objectives.dense.levels import levels_by_scale
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.modeling.objectives.query_filter import check_threshold
from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import FeatureMap, ObjectiveContext

from jaxtyping import Float
from torch import Tensor


class DenseDistillation(Objective):
    """Base of objectives that compare dense heads: levels, their pairs, class logits of both.

    Args:
        strides: strides of the head's levels, in pixels of the detector's input.
        teacher_strides: strides of the teacher's levels, in pixels of the teacher's input; None if
            they are the student's.
        anchor_offset: centre of cell 0, in strides: 0.5 for FCOS, the anchor generator's ``offset``
            for anchors (0 in Detectron2's RetinaNet).
        num_anchors: anchors per cell.
        pairs: (student's level, teacher's level) pairs, where a level may be in several; None pairs
            each of the teacher's levels with the student's level that is nearest in scale.
        threshold: best class probability of the teacher above which a point is foreground.
        cross_head: whether the teacher's last convolutions predict for the student.
        path: path of the last convolution for classes.
        teacher_path: its path in the teacher; None if it is the student's.
        name: group of the losses.

    Raises:
        ValueError: a value is out of its range, or a pair names a level that is not there.
    """

    def __init__(
        self,
        strides: Sequence[int],
        teacher_strides: Sequence[int] | None,
        anchor_offset: float,
        num_anchors: int,
        pairs: Sequence[tuple[int, int]] | None,
        threshold: float,
        cross_head: bool,
        path: str,
        teacher_path: str | None,
        name: str,
    ) -> None:
        super().__init__(name)
        check_threshold(threshold)
        if num_anchors < 1:
            raise ValueError(f"num_anchors={num_anchors}: expected 1 or more anchors per cell")
        for key, values in (("strides", strides), ("teacher_strides", teacher_strides or strides)):
            if not values or min(values) <= 0:
                raise ValueError(f"{key}={list(values)}: expected positive numbers of pixels")
        self.strides = tuple(strides)
        self.teacher_strides = tuple(teacher_strides or strides)
        self.anchor_offset = anchor_offset
        self.num_anchors = num_anchors
        self.pairs = None if pairs is None else [(own, other) for own, other in pairs]
        for pair in self.pairs or ():
            if not (
                pair[0] in range(len(self.strides)) and pair[1] in range(len(self.teacher_strides))
            ):
                raise ValueError(
                    f"objective {name!r}: pair {pair} of levels, but the student has "
                    f"{len(self.strides)} and the teacher {len(self.teacher_strides)}"
                )
        self.threshold = threshold
        self.cross_head = cross_head
        self.student_taps = self.taps_of_student(path)
        self.teacher_taps = taps_of_levels(teacher_path or path, len(self.teacher_strides))

    def taps_of_student(self, path: str) -> tuple[Tap, ...]:
        """Taps of a last convolution: at its output, or at its input with ``cross_head``."""
        side = "input" if self.cross_head else "output"
        return taps_of_levels(path, len(self.strides), side)

    def predicted(
        self, context: ObjectiveContext, tap: Tap, teacher_tap: Tap
    ) -> Float[Tensor, "N C h w"]:
        """The student's predictions at one of its taps.

        Args:
            context: the iteration.
            tap: tap of the student's last convolution.
            teacher_tap: tap of the teacher's, which predicts with ``cross_head``.

        Raises:
            ValueError: the student's channels do not fit the teacher's convolution.
        """
        captured = context.student_taps[tap][0].float()
        if not self.cross_head:
            return captured
        convolution = context.teacher.get_submodule(teacher_tap.path)
        expected = convolution.weight.shape[1]
        if captured.shape[1] != expected:
            raise ValueError(
                f"objective {self.name!r}: the student's {tap.path} gets {captured.shape[1]} "
                f"channels, the teacher's {teacher_tap.path} takes {expected}: leave out cross_head"
            )
        # Its weights are frozen, but gradients pass through it to the student's features. Its hook
        # records nothing, since the recording has ended.
        return convolution(captured)

    def class_logits(self, context: ObjectiveContext) -> tuple[list[FeatureMap], list[FeatureMap]]:
        """Class logits of all levels with their geometry: the student's and the teacher's.

        Raises:
            ValueError: they differ in channels, or the channels are no multiple of the anchors.
        """
        # Not strict: subclasses append taps, of boxes and anchors, to those of the levels.
        student = [
            self._placed(
                self.predicted(context, tap, self.teacher_taps[0]), stride, context, context.factor
            )
            for tap, stride in zip(self.student_taps, self.strides, strict=False)
        ]
        teacher = [
            self._placed(context.teacher_taps[tap][0].float(), stride, context, Fraction(1))
            for tap, stride in zip(self.teacher_taps, self.teacher_strides, strict=False)
        ]
        own, other = (maps[0].tensor.shape[1] for maps in (student, teacher))
        if own != other or own % self.num_anchors:
            raise ValueError(
                f"objective {self.name!r}: {own} class logits per cell at the student's "
                f"{self.student_taps[0].path}, {other} at the teacher's "
                f"{self.teacher_taps[0].path}, num_anchors={self.num_anchors}: both need the same "
                "classes and anchors"
            )
        return student, teacher

    def _placed(
        self,
        logits: Float[Tensor, "N C h w"],
        stride: int,
        context: ObjectiveContext,
        factor: Fraction,
    ) -> FeatureMap:
        offset = self.anchor_offset * stride
        return FeatureMap.of_network(logits, stride, offset, context.sizes, factor)

    def teachers_of(self, level: int, context: ObjectiveContext) -> list[int]:
        """The teacher's levels that are paired with one of the student's."""
        pairs = self.pairs or levels_by_scale(self.strides, self.teacher_strides, context.factor)
        return [other for own, other in pairs if own == level]

    def cells(self, tensor: Float[Tensor, "N C h w"]) -> Float[Tensor, "N A S numbers"]:
        """A head's output by anchor and cell: the numbers that it predicts for each of them."""
        return tensor.unflatten(1, (self.num_anchors, -1)).flatten(3).transpose(2, 3)

    def confidence(self, level: FeatureMap) -> FeatureMap:
        """Best class probability of each anchor, (N, A, h, w)."""
        # One sigmoid for each anchor, of its best logit, not one for each class.
        best = level.tensor.unflatten(1, (self.num_anchors, -1)).amax(dim=2).sigmoid()
        return FeatureMap(best, level.stride, level.offset, level.valid_sizes)


def taps_of_levels(
    path: str, levels: int, side: Literal["output", "input"] = "output"
) -> tuple[Tap, ...]:
    """One tap for each call of a module that runs once per level."""
    return tuple(Tap(path, k, side) for k in range(levels))
