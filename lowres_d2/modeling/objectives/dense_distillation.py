"""Distillation of dense heads (FCOS, RetinaNet): logits and boxes at the same image point.

``DenseLogitDistillation`` compares class logits, ``DenseBoxDistillation`` decoded boxes in the
full-resolution frame. Both read the heads' last convolutions, once a level, and find each of the
student's cells its teacher as ``dense_levels`` says.

Shapes: N pictures, A anchors a cell, K classes, h and w cells, S = h w; P points compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lowres_d2.modeling.objectives.dense_levels import best_cells, levels_by_scale
from lowres_d2.modeling.objectives.logit_forms import Form, check_form, logit_distance
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.modeling.objectives.query_filter import best_class_probability, mean_of
from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import FeatureMap, ObjectiveContext

import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss


class _DenseDistillation(Objective):
    """What the two share: levels, their pairs, class logits of student and teacher.

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
            if not (pair[0] in range(len(self.strides)) and self._is_teacher_level(pair[1])):
                raise ValueError(
                    f"objective {name!r}: pair {pair} of levels, but the student has "
                    f"{len(self.strides)} and the teacher {len(self.teacher_strides)}"
                )
        self.threshold = threshold
        self.student_taps = tuple(Tap(path, k) for k in range(len(self.strides)))
        self.teacher_taps = tuple(
            Tap(teacher_path or path, k) for k in range(len(self.teacher_strides))
        )

    def _is_teacher_level(self, level: int) -> bool:
        return level in range(len(self.teacher_strides))

    def _class_logits(self, context: ObjectiveContext) -> tuple[list[FeatureMap], list[FeatureMap]]:
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

    def _teachers_of(self, level: int, context: ObjectiveContext) -> list[int]:
        pairs = self.pairs or levels_by_scale(self.strides, self.teacher_strides, context.factor)
        return [other for own, other in pairs if own == level]

    def _cells(self, tensor: Tensor) -> Tensor:
        """(N, A B, h, w) to (N, A, S, B)."""
        return tensor.unflatten(1, (self.num_anchors, -1)).flatten(3).transpose(2, 3)

    def _confidence(self, level: FeatureMap) -> FeatureMap:
        """Best class probability (N, A, h, w)."""
        best = level.tensor.unflatten(1, (self.num_anchors, -1)).amax(dim=2).sigmoid()
        return FeatureMap(best, level.stride, level.offset, level.valid_sizes)


class DenseLogitDistillation(_DenseDistillation):
    """The student's class logits follow the teacher's at the same image point.

    The forms ``softmax`` and ``sigmoid`` are means over the foreground points; ``focal`` is a sum
    over all points, divided by the foreground's confidence (at least 1).

    Args:
        strides: of the head's levels, in pixels of the detector's input.
        form: see ``logit_forms``.
        sample: ``"teacher"`` gives each of the student's cells the most confident of the teacher's
            cells in it; ``"student"`` compares at each of the teacher's cells, with the student's
            logits sampled there (levels that share a student's level then contradict each other
            on background, which only the filter keeps out).
        temperature: T of the forms ``softmax`` and ``sigmoid``.
        teacher_strides: see ``strides``; None where they are the same.
        anchor_offset: where cell 0 stands, in strides: 0.5 for FCOS, for anchors what their
            generator says (0 in Detectron2's RetinaNet).
        num_anchors: anchors a cell.
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
        form: Form = "softmax",
        sample: Literal["teacher", "student"] = "teacher",
        temperature: float = 1.0,
        teacher_strides: Sequence[int] | None = None,
        anchor_offset: float = 0.5,
        num_anchors: int = 1,
        pairs: Sequence[tuple[int, int]] | None = None,
        threshold: float = 0.5,
        path: str = "head.cls_score",
        teacher_path: str | None = None,
        name: str = "logit",
    ) -> None:
        super().__init__(
            strides,
            teacher_strides,
            anchor_offset,
            num_anchors,
            pairs,
            threshold,
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

    def forward(self, context: ObjectiveContext) -> dict[str, Tensor]:
        """Loss ``cls``."""
        student, teacher = self._class_logits(context)
        check_form(self.form, 1.0, student[0].tensor.shape[1] // self.num_anchors)
        points = [
            self._at_own_cells(own, others)
            if self.sample == "teacher"
            else self._at_teachers_cells(own, others)
            for level, own in enumerate(student)
            if (others := [teacher[k] for k in self._teachers_of(level, context)])
        ]
        ours, theirs = (torch.cat(parts) for parts in zip(*points, strict=True))
        distance = logit_distance(ours, theirs, self.form, self.temperature)
        if self.form != "focal":
            return {"cls": mean_of(distance)}
        confidence = best_class_probability(theirs, "sigmoid")
        foreground = confidence[confidence > self.threshold].sum()
        return {"cls": distance.sum() / foreground.clamp(min=1)}

    @property
    def _least_confidence(self) -> float:
        return 0.0 if self.form == "focal" else self.threshold

    def _at_own_cells(
        self, student: FeatureMap, teachers: list[FeatureMap]
    ) -> tuple[Tensor, Tensor]:
        """Logits (P, K) of both at the student's cells that count."""
        index, confidence = best_cells(student, [self._confidence(level) for level in teachers])
        picture, anchor, cell = (confidence > self._least_confidence).nonzero(as_tuple=True)
        theirs = torch.cat([self._cells(level.tensor) for level in teachers], dim=2)
        return (
            self._cells(student.tensor)[picture, anchor, cell],
            theirs[picture, anchor, index[picture, anchor, cell]],
        )

    def _at_teachers_cells(
        self, student: FeatureMap, teachers: list[FeatureMap]
    ) -> tuple[Tensor, Tensor]:
        """Logits (P, K) of both at the teacher's cells that count."""
        ours, theirs = [], []
        for level in teachers:
            confidence = self._confidence(level).tensor
            for i in range(len(level.tensor)):
                rows, columns = level.cells_inside(i)
                counts = confidence[i, :, :rows, :columns].flatten(1) > self._least_confidence
                for parts, values in (
                    (ours, student.sampled_at(level, i)),
                    (theirs, level.inside(i)),
                ):
                    parts.append(self._cells(values[None])[0][counts])
        return torch.cat(ours), torch.cat(theirs)


class DenseBoxDistillation(_DenseDistillation):
    """Where the teacher sees an object, the student's box follows the teacher's.

    A mean over the student's cells whose teacher is confident, weighted by that confidence (the
    teacher's boxes elsewhere mean nothing), as "Bridging Cross-task Protocol Inconsistency for
    Distillation in Dense Object Detection" (2023) has it, by GIoU or in sizes of the teacher's box.

    Args:
        strides: of the head's levels, in pixels of the detector's input.
        box2box_transform: what both heads' deltas mean: ``Box2BoxTransformLinear()`` in ``FCOS``,
            ``Box2BoxTransform((1, 1, 1, 1))`` in ``NearestPointFCOS``.
        distance: ``"giou"``, 1 - GIoU; ``"l1"``, the mean distance of the four sides as a share of
            the teacher's width or height.
        teacher_strides: see ``strides``; None where they are the same.
        anchor_offset: see ``DenseLogitDistillation``.
        num_anchors: anchors a cell.
        pairs: see ``DenseLogitDistillation``.
        threshold: best teacher class probability above which its box is learned.
        path: the head's last convolution for classes.
        box_path: the head's last convolution for boxes.
        anchor_path: the anchor generator.
        teacher_path: as ``path``, in the teacher; None where it is the same. Boxes and anchors have
            the student's paths.
        name: group of the losses.
    """

    def __init__(
        self,
        strides: Sequence[int],
        box2box_transform: Any,
        distance: Literal["giou", "l1"] = "giou",
        teacher_strides: Sequence[int] | None = None,
        anchor_offset: float = 0.5,
        num_anchors: int = 1,
        pairs: Sequence[tuple[int, int]] | None = None,
        threshold: float = 0.5,
        path: str = "head.cls_score",
        box_path: str = "head.bbox_pred",
        anchor_path: str = "anchor_generator",
        teacher_path: str | None = None,
        name: str = "box",
    ) -> None:
        super().__init__(
            strides,
            teacher_strides,
            anchor_offset,
            num_anchors,
            pairs,
            threshold,
            path,
            teacher_path,
            name,
        )
        if distance not in ("giou", "l1"):
            raise ValueError(f"distance={distance!r}: expected 'giou' or 'l1'")
        self.box2box_transform = box2box_transform
        self.distance = distance
        self.box_path = box_path
        self.anchors = Tap(anchor_path, 0)
        self.student_taps += (*_calls(box_path, self.strides), self.anchors)
        self.teacher_taps += (*_calls(box_path, self.teacher_strides), self.anchors)

    def forward(self, context: ObjectiveContext) -> dict[str, Tensor]:
        """Loss ``reg``."""
        student, teacher = self._class_logits(context)
        ours, theirs, weights = [], [], []
        for level, own in enumerate(student):
            others = self._teachers_of(level, context)
            if not others:
                continue
            index, confidence = best_cells(own, [self._confidence(teacher[k]) for k in others])
            picture, anchor, cell = (confidence > self.threshold).nonzero(as_tuple=True)
            chosen = index[picture, anchor, cell]
            boxes = self._boxes(context.student_taps, [level], picture, anchor, cell)
            ours.append(boxes * float(context.factor))
            theirs.append(self._boxes(context.teacher_taps, others, picture, anchor, chosen))
            weights.append(confidence[picture, anchor, cell])
        boxes = torch.cat(theirs)
        # Boxes whose sides have crossed, which FCOS makes points of, teach nothing.
        solid = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        distance = self._distance(torch.cat(ours), boxes)
        return {"reg": mean_of(distance, torch.cat(weights) * solid)}

    def _boxes(
        self, taps: Any, levels: list[int], picture: Tensor, anchor: Tensor, cell: Tensor
    ) -> Tensor:
        """Decoded boxes (P, 4) of these cells of the levels, in the network's pixels."""
        maps = [taps[Tap(self.box_path, k)][0] for k in levels]
        deltas = torch.cat([self._cells(level.float()) for level in maps], dim=2)
        generated = taps[self.anchors][0]
        sources = torch.cat([generated[k].tensor for k in levels])  # (T A, 4)
        return self.box2box_transform.apply_deltas(
            deltas[picture, anchor, cell], sources[cell * self.num_anchors + anchor]
        )

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """(P,)"""
        if self.distance == "giou":
            return generalized_box_iou_loss(student, teacher)
        size = (teacher[:, 2:] - teacher[:, :2]).clamp(min=1)
        return ((student - teacher).abs() / torch.cat([size, size], dim=1)).mean(dim=1)


def _calls(path: str, levels: Sequence[int]) -> tuple[Tap, ...]:
    return tuple(Tap(path, k) for k in range(len(levels)))
