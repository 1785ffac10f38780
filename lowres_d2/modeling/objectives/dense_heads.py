"""Reading the dense heads (FCOS, RetinaNet) of student and teacher, level by level.

Taps stand at the heads' last convolutions, which run once a level, in order of the levels.

Shapes: N pictures, A anchors a cell, K classes, h and w cells, S = h w, B numbers an anchor.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.modeling.objectives.dense_levels import levels_by_scale
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import FeatureMap, ObjectiveContext

from torch import Tensor


class DenseDistillation(Objective):
    """Base of objectives that compare dense heads: levels, their pairs, class logits of both.

    Args:
        strides: of the head's levels, in pixels of the detector's input.
        teacher_strides: likewise; None where they are the student's.
        anchor_offset: where cell 0 stands, in strides: 0.5 for FCOS, for anchors what their
            generator says (0 in Detectron2's RetinaNet).
        num_anchors: A.
        pairs: (student's level, teacher's level), as often as wanted; None pairs each of the
            teacher's levels with the student's nearest one in scale.
        threshold: best teacher class probability above which a point is foreground.
        path: the head's last convolution for classes.
        teacher_path: likewise; None where it is the student's.
        name: group of the losses.
    """

    def __init__(
        self,
        strides: Sequence[int],
        teacher_strides: Sequence[int] | None,
        anchor_offset: float,
        num_anchors: int,
        pairs: Sequence[tuple[int, int]] | None,
        threshold: float,
        path: str,
        teacher_path: str | None,
        name: str,
    ) -> None:
        super().__init__(name)
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
        self.student_taps = tuple(Tap(path, k) for k in range(len(self.strides)))
        self.teacher_taps = tuple(
            Tap(teacher_path or path, k) for k in range(len(self.teacher_strides))
        )

    def class_logits(self, context: ObjectiveContext) -> tuple[list[FeatureMap], list[FeatureMap]]:
        """Class logits (N, A K, h, w) of all levels with their geometry, student's and teacher's.

        Raises:
            ValueError: they differ in channels.
        """
        sides = []
        for taps, captured, strides, factor in (
            (self.student_taps, context.student_taps, self.strides, context.factor),
            (self.teacher_taps, context.teacher_taps, self.teacher_strides, 1),
        ):
            sides.append(
                [
                    FeatureMap.of_network(
                        captured[tap][0].float(),
                        stride,
                        self.anchor_offset * stride,
                        context.sizes,
                        factor,
                    )
                    for tap, stride in zip(taps, strides, strict=False)
                ]
            )
        own, other = (maps[0].tensor.shape[1] for maps in sides)
        if own != other or own % self.num_anchors:
            raise ValueError(
                f"objective {self.name!r}: {own} class logits a cell at the student's "
                f"{self.student_taps[0].path}, {other} at the teacher's "
                f"{self.teacher_taps[0].path}, num_anchors={self.num_anchors}: both need the same "
                "classes and anchors"
            )
        return sides[0], sides[1]

    def teachers_of(self, level: int, context: ObjectiveContext) -> list[int]:
        pairs = self.pairs or levels_by_scale(self.strides, self.teacher_strides, context.factor)
        return [other for own, other in pairs if own == level]

    def cells(self, tensor: Tensor) -> Tensor:
        """(N, A B, h, w) to (N, A, S, B)."""
        return tensor.unflatten(1, (self.num_anchors, -1)).flatten(3).transpose(2, 3)

    def confidence(self, level: FeatureMap) -> FeatureMap:
        """Best class probability (N, A, h, w)."""
        best = level.tensor.unflatten(1, (self.num_anchors, -1)).amax(dim=2).sigmoid()
        return FeatureMap(best, level.stride, level.offset, level.valid_sizes)
