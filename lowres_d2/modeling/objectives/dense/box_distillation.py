"""Distillation of dense heads: the student learns boxes where the teacher sees objects.

    loss = sum over points of c d(student's box, teacher's box) / sum over points of c

c is the teacher's best class probability. Points are the student's cells where c is above a
threshold, because boxes mean nothing elsewhere. d is 1 - GIoU, as in the IoU-based localisation
distillation of Yang et al., "Bridging Cross-task Protocol Inconsistency for Distillation in Dense
Object Detection", 2023.

Boxes are XYXY. They are decoded in pixels of each network's input and compared in pixels of the
full-resolution image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from lowres_d2.modeling.objectives.dense.heads import DenseDistillation, taps_of_levels
from lowres_d2.modeling.objectives.dense.levels import best_cells
from lowres_d2.modeling.objectives.query_filter import mean_of
from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import ObjectiveContext

import torch
from detectron2.modeling.box_regression import Box2BoxTransform, Box2BoxTransformLinear
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss


class DenseBoxDistillation(DenseDistillation):
    """The student learns the teacher's boxes; both heads have the same levels and anchors.

    Args:
        strides: strides of the heads' levels, in pixels of each network's input.
        box2box_transform: transform that decodes both heads' deltas: ``Box2BoxTransformLinear()``
            in ``FCOS``, ``Box2BoxTransform((1, 1, 1, 1))`` in ``NearestPointFCOS``.
        distance: ``"giou"``, 1 - GIoU; ``"l1"``, the mean distance of the four sides, relative to
            the width or height of the teacher's box.
        anchor_offset: see ``DenseLogitDistillation``.
        num_anchors: anchors per cell.
        pairs: see ``DenseLogitDistillation``.
        threshold: best class probability of the teacher above which its box is learned.
        cross_head: see ``DenseLogitDistillation``.
        path: path of the last convolution for classes.
        box_path: path of the last convolution for boxes.
        anchor_path: path of the student's anchor generator.
        name: group of the losses.
    """

    def __init__(
        self,
        strides: Sequence[int],
        box2box_transform: Box2BoxTransform | Box2BoxTransformLinear,
        distance: Literal["giou", "l1"] = "giou",
        anchor_offset: float = 0.5,
        num_anchors: int = 1,
        pairs: Sequence[tuple[int, int]] | None = None,
        threshold: float = 0.5,
        cross_head: bool = False,
        path: str = "head.cls_score",
        box_path: str = "head.bbox_pred",
        anchor_path: str = "anchor_generator",
        name: str = "box",
    ) -> None:
        super().__init__(
            strides,
            None,
            anchor_offset,
            num_anchors,
            pairs,
            threshold,
            cross_head,
            path,
            None,
            name,
        )
        if distance not in ("giou", "l1"):
            raise ValueError(f"distance={distance!r}: expected 'giou' or 'l1'")
        self.box2box_transform = box2box_transform
        self.distance = distance
        self.anchors = Tap(anchor_path, 0)
        self.boxes = self.taps_of_student(box_path)
        self.teacher_boxes = taps_of_levels(box_path, len(self.strides))
        self.student_taps += (*self.boxes, self.anchors)
        self.teacher_taps += self.teacher_boxes

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """Loss ``reg``."""
        student, teacher = self.class_logits(context)
        generated = context.student_taps[self.anchors][0]
        anchors = [level.tensor[: self.num_anchors] for level in generated]  # those of cell 0
        parts = []
        for level, own in enumerate(student):
            others = self.teachers_of(level, context)
            if not others:
                continue
            index, confidence = best_cells(own, [self.confidence(teacher[k]) for k in others])
            image, anchor, cell = (confidence > self.threshold).nonzero(as_tuple=True)
            found = {level: self.predicted(context, self.boxes[level], self.teacher_boxes[level])}
            # Both heads have the same anchors in their own pixels: the student's serve the teacher,
            # whose outputs can then come from a cache.
            ours = self._decoded(found, anchors, image, cell, anchor)
            found = {k: context.teacher_taps[self.teacher_boxes[k]][0].float() for k in others}
            chosen = index[image, anchor, cell]
            theirs = self._decoded(found, anchors, image, chosen, anchor)
            parts.append((ours * float(context.factor), theirs, confidence[image, anchor, cell]))
        ours, theirs, weights = (torch.cat(part) for part in zip(*parts, strict=True))
        # Boxes without area, which FCOS predicts by negative distances (they count as 0), do not
        # count.
        solid = (theirs[:, 2:] > theirs[:, :2]).all(dim=1)
        return {"reg": mean_of(self._distance(ours, theirs), weights * solid)}

    def _decoded(
        self,
        found: Mapping[int, Float[Tensor, "N C _h _w"]],
        anchors: Sequence[Float[Tensor, "A 4"]],
        image: Int[Tensor, " X"],
        cell: Int[Tensor, " X"],
        anchor: Int[Tensor, " X"],
    ) -> Float[Tensor, "X 4"]:
        """Boxes in pixels of the network's input.

        Args:
            found: deltas by level.
            anchors: anchors of cell 0, for each level.
            image: indices of the images.
            cell: indices of the cells, counted through the levels of ``found`` in their order.
            anchor: indices of the anchors.
        """
        deltas, sources = [], []
        for k, level in found.items():
            rows, columns = (
                torch.arange(count, device=level.device) * self.strides[k]
                for count in level.shape[-2:]
            )
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            shifts = torch.stack([x, y, x, y], dim=-1).flatten(0, 1)  # (S, 4)
            deltas.append(self.cells(level).transpose(1, 2))  # (N, S, A, 4)
            sources.append(shifts[:, None] + anchors[k])  # (S, A, 4)
        return self.box2box_transform.apply_deltas(
            torch.cat(deltas, dim=1)[image, cell, anchor], torch.cat(sources)[cell, anchor]
        )

    def _distance(
        self, student: Float[Tensor, "X 4"], teacher: Float[Tensor, "X 4"]
    ) -> Float[Tensor, " X"]:
        if self.distance == "giou":
            return generalized_box_iou_loss(student, teacher)
        # At least 1 px: boxes without area have weight 0, but infinity times 0 would be NaN.
        size = (teacher[:, 2:] - teacher[:, :2]).clamp(min=1)
        return ((student - teacher).abs() / torch.cat([size, size], dim=1)).mean(dim=1)
