"""Distillation of dense heads: class logits at the same image points.

``dense.levels`` pairs levels and cells, ``logit_forms`` has the distances between logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lowres_d2.modeling.objectives.dense.heads import DenseDistillation
from lowres_d2.modeling.objectives.dense.levels import best_cells
from lowres_d2.modeling.objectives.logit_forms import Form, check_form, logit_distance
from lowres_d2.modeling.objectives.query_filter import best_class_probability, mean_of
from lowres_d2.structures import FeatureMap, ObjectiveContext

import torch
from jaxtyping import Float
from torch import Tensor


class DenseLogitDistillation(DenseDistillation):
    """The student learns the teacher's class logits at the same image points.

    The forms ``softmax`` and ``sigmoid`` are means over the foreground points; ``focal`` is a sum
    over all points, divided by the summed confidence of the foreground (at least 1).

    Args:
        strides: strides of the head's levels, in pixels of the detector's input.
        form: distance between logits, see ``logit_forms``.
        sample: ``"teacher"`` compares each of the student's cells with the most confident of the
            teacher's cells in it; ``"student"`` samples the student's logits at each of the
            teacher's cells (teacher levels that share a level of the student then contradict each
            other on background, which only the filter removes).
        temperature: T of the forms ``softmax`` and ``sigmoid``.
        teacher_strides: strides of the teacher's levels, in pixels of the teacher's input; None if
            they are the student's.
        anchor_offset: centre of cell 0, in strides: 0.5 for FCOS, the anchor generator's ``offset``
            for anchors (0 in Detectron2's RetinaNet).
        num_anchors: anchors per cell.
        pairs: (student's level, teacher's level) pairs, where a level may be in several; None pairs
            each of the teacher's levels with the student's level that is nearest in scale.
        threshold: best class probability of the teacher above which a point is foreground.
        cross_head: whether the teacher's last convolution predicts for the student (CrossKD); the
            student's own then learns from the ground truth alone.
        path: path of the last convolution for classes.
        teacher_path: its path in the teacher; None if it is the student's.
        times_squared_temperature: see ``logit_distance``; Eq. 7 has no such factor.
        name: group of the losses.
    """

    def __init__(
        self,
        strides: Sequence[int],
        form: Form = "softmax",
        sample: Literal["teacher", "student"] = "teacher",
        temperature: float = 1.0,
        teacher_strides: Sequence[int] | None = None,
        anchor_offset: float = 0.5,
        num_anchors: int = 1,
        pairs: Sequence[tuple[int, int]] | None = None,
        threshold: float = 0.5,
        cross_head: bool = False,
        path: str = "head.cls_score",
        teacher_path: str | None = None,
        times_squared_temperature: bool = False,
        name: str = "logit",
    ) -> None:
        super().__init__(
            strides,
            teacher_strides,
            anchor_offset,
            num_anchors,
            pairs,
            threshold,
            cross_head,
            path,
            teacher_path,
            name,
        )
        check_form(form, temperature)
        if sample not in ("teacher", "student"):
            raise ValueError(f"sample={sample!r}: expected 'teacher' or 'student'")
        self.form = form
        self.sample = sample
        self.temperature = temperature
        self.times_squared_temperature = times_squared_temperature

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """Loss ``cls``."""
        student, teacher = self.class_logits(context)
        # Only now is the number of classes known: a softmax over one is always 1.
        check_form(self.form, 1.0, student[0].tensor.shape[1] // self.num_anchors)
        points = [
            self._at_own_cells(own, others)
            if self.sample == "teacher"
            else self._at_teachers_cells(own, others)
            for level, own in enumerate(student)
            if (others := [teacher[k] for k in self.teachers_of(level, context)])
        ]
        ours, theirs = (torch.cat(parts) for parts in zip(*points, strict=True))
        distance = logit_distance(
            ours,
            theirs,
            self.form,
            self.temperature,
            times_squared_temperature=self.times_squared_temperature,
        )
        if self.form != "focal":
            return {"cls": mean_of(distance)}
        confidence = best_class_probability(theirs, "sigmoid")
        foreground = confidence[confidence > self.threshold].sum()
        # At least 1, so that a batch without objects does not divide by 0.
        return {"cls": distance.sum() / foreground.clamp(min=1)}

    @property
    def _least_confidence(self) -> float:
        # `focal` needs no filter: 0 leaves out only cells outside the image, which have -1.
        return 0.0 if self.form == "focal" else self.threshold

    def _at_own_cells(
        self, student: FeatureMap, teachers: list[FeatureMap]
    ) -> tuple[Float[Tensor, "X K"], Float[Tensor, "X K"]]:
        """Logits of both at the student's cells that count."""
        index, confidence = best_cells(student, [self.confidence(level) for level in teachers])
        image, anchor, cell = (confidence > self._least_confidence).nonzero(as_tuple=True)
        theirs = torch.cat([self.cells(level.tensor) for level in teachers], dim=2)  # (N, A, S, K)
        return (
            self.cells(student.tensor)[image, anchor, cell],
            theirs[image, anchor, index[image, anchor, cell]],
        )

    def _at_teachers_cells(
        self, student: FeatureMap, teachers: list[FeatureMap]
    ) -> tuple[Float[Tensor, "X K"], Float[Tensor, "X K"]]:
        """Logits of both at the teacher's cells that count."""
        ours, theirs = [], []
        for level in teachers:
            confidence = self.confidence(level).tensor
            for i in range(len(level.tensor)):
                rows, columns = level.cells_inside(i)
                counts = confidence[i, :, :rows, :columns].flatten(1) > self._least_confidence
                for parts, values in (
                    (ours, student.sampled_at(level, i)),
                    (theirs, level.inside(i)),
                ):
                    parts.append(self.cells(values[None])[0][counts])
        return torch.cat(ours), torch.cat(theirs)
