"""Distillation of two-stage detectors: the teacher scores the student's sampled proposals.

The proposals that the student's head samples in training are multiplied by the factor, pooled from
the teacher's features and passed through the teacher's head, so that both see the same image region
(Chen et al., "Learning efficient object detection models with knowledge distillation", 2017, Sec.
3.2; they use the teacher's proposals). The teacher runs its backbone and its head, and generates no
proposals.

Class logits have background last. Boxes are XYXY, in pixels of the detector's image, or of the
full-resolution image once multiplied by the factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lowres_d2.modeling.objectives.logit_forms import check_form, logit_distance
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.modeling.objectives.query_filter import (
    best_class_probability,
    check_threshold,
    mean_of,
)
from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import ObjectiveContext

import torch
from detectron2.structures import Boxes
from jaxtyping import Float, Int
from torch import Tensor, nn


class ProposalLogitDistillation(Objective):
    """The student learns the teacher's predictions for its own sampled proposals.

    Losses are means over the proposals in which the teacher sees an object, 0 if there are none:
    ``cls``, and with ``learn_boxes`` also ``box``, the L1 distance of the four deltas of the
    teacher's class. A cascade's losses end in ``_stage<k>``: each stage has proposals of its own.

    Args:
        pooler: path of the student's pooler: ``roi_heads.box_pooler``, or ``roi_heads.pooler`` of
            the C4 head.
        stages: stages of a cascade that learn; None for a head without stages.
        form: ``"softmax"``, over classes and background; ``"sigmoid"``, for heads trained with
            ``use_sigmoid_ce``, whose background score is not used. See ``logit_forms``.
        temperature: T of the form.
        threshold: best class probability of the teacher above which a proposal counts; 0 for all.
        learn_boxes: whether deltas are learned, too; both heads need the same box transform.
        times_squared_temperature: see ``logit_distance``; Eq. 7 has no such factor.
        name: group of the losses.
    """

    def __init__(
        self,
        pooler: str = "roi_heads.box_pooler",
        stages: Sequence[int] | None = None,
        form: Literal["softmax", "sigmoid"] = "softmax",
        temperature: float = 1.0,
        threshold: float = 0.5,
        learn_boxes: bool = False,
        times_squared_temperature: bool = False,
        name: str = "logit",
    ) -> None:
        super().__init__(name)
        check_form(form, temperature, filtered=True)
        check_threshold(threshold)
        self.form = form
        self.temperature = temperature
        self.times_squared_temperature = times_squared_temperature
        self.threshold = threshold
        self.learn_boxes = learn_boxes
        self.stages = [None] if stages is None else list(stages)
        heads = pooler.rpartition(".")[0]
        self.boxes = [Tap(pooler, stage or 0, side="inputs") for stage in self.stages]
        self.predictions = [
            Tap(f"{heads}.box_predictor" + ("" if stage is None else f".{stage}"), 0)
            for stage in self.stages
        ]
        self.features = Tap("backbone", 0)
        self.student_taps = (*self.boxes, *self.predictions)
        self.teacher_taps = (self.features,)

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """Losses ``cls`` and, if deltas are learned, ``box``, of each stage."""
        features = context.teacher_taps[self.features][0]
        losses = {}
        for stage, boxes, predictions in zip(
            self.stages, self.boxes, self.predictions, strict=True
        ):
            _, pooled = context.student_taps[boxes][0]
            full = [Boxes(b.tensor.detach() * float(context.factor)) for b in pooled]
            theirs = teacher_predictions(context.teacher.roi_heads, features, full, stage)
            ours = [x.float() for x in context.student_taps[predictions][0]]
            suffix = "" if stage is None else f"_stage{stage}"
            losses |= {f"{key}{suffix}": x for key, x in self._compare(ours, theirs).items()}
        return losses

    def _compare(
        self, ours: Sequence[Float[Tensor, "R _"]], theirs: Sequence[Float[Tensor, "R _"]]
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses from (class logits, deltas) of student and teacher."""
        (logits, deltas), (goal, goal_deltas) = ours, theirs
        if logits.shape[1] != goal.shape[1]:
            raise ValueError(
                f"objective {self.name!r}: the student scores {logits.shape[1] - 1} classes, the "
                f"teacher {goal.shape[1] - 1}: both need the same classes"
            )
        confidence = best_class_probability(goal, self.form, background=True)
        kept = (confidence > self.threshold).nonzero()[:, 0]
        # Background has no deltas.
        best = goal[kept, :-1].argmax(dim=1)
        if self.form == "sigmoid":
            logits, goal = logits[:, :-1], goal[:, :-1]
        distance = logit_distance(
            logits[kept],
            goal[kept],
            self.form,
            self.temperature,
            times_squared_temperature=self.times_squared_temperature,
        )
        losses = {"cls": mean_of(distance)}
        if self.learn_boxes:
            away = _of_class(deltas[kept], best) - _of_class(goal_deltas[kept], best)
            losses["box"] = mean_of(away.abs().sum(dim=1))
        return losses


@torch.no_grad()
def teacher_predictions(
    heads: nn.Module,
    features: dict[str, Float[Tensor, "N _C _h _w"]],
    boxes: list[Boxes],
    stage: int | None = None,
) -> tuple[Float[Tensor, "R scores"], Float[Tensor, "R deltas"]]:
    """Class logits and deltas that a two-stage head predicts for given boxes.

    Args:
        heads: ``StandardROIHeads``, ``CascadeROIHeads`` or ``Res5ROIHeads``, in eval mode.
        features: the backbone's feature maps by name; the head runs in their precision.
        boxes: boxes of each image, in pixels of the network's input.
        stage: stage of a cascade; every stage accepts any boxes.

    Returns:
        K class logits and background's, last; 4 deltas for each class, or 4 for all classes.
    """
    maps = [features[name] for name in heads.in_features]
    precision, device = maps[0].dtype, maps[0].device.type
    # Poolers cast boxes to the precision of the feature maps: from x = 1024 on, float16 rounds to
    # whole pixels and bfloat16 to every eighth.
    maps = [level.float() for level in maps]
    with torch.autocast(device, precision, enabled=precision != torch.float32):
        if hasattr(heads, "box_pooler"):
            regions = heads.box_pooler(maps, boxes)
            head, predictor = heads.box_head, heads.box_predictor
            if stage is not None:
                head, predictor = head[stage], predictor[stage]
            predictions: Any = predictor(head(regions))
        else:
            regions = heads.res5(heads.pooler(maps, boxes))
            predictions = heads.box_predictor(regions.mean(dim=(2, 3)))
    logits, deltas = predictions
    return logits.float(), deltas.float()


def _of_class(
    deltas: Float[Tensor, "R deltas"], classes: Int[Tensor, " R"]
) -> Float[Tensor, "R 4"]:
    """Deltas of each region's class; the same for all classes if the head is class-agnostic."""
    by_class = deltas.unflatten(1, (-1, 4))  # (R, K or 1, 4)
    if by_class.shape[1] == 1:
        return by_class[:, 0]
    return by_class[torch.arange(len(classes), device=classes.device), classes]
