"""Distillation of queries (DETR and its variants): each kept query of the teacher teaches one.

Only the teacher's queries that pass the query filter are kept (ThumbDet, Algorithm 1). A student
that starts from its teacher's weights has the same queries: each learns from the teacher's query of
the same index. Otherwise indices mean nothing, and the student's queries are matched to the
teacher's predictions as if these were ground truth (Chang et al., "DETRDistill", 2023, Sec. 3.1).

Boxes are (centre x, centre y, width, height), relative to the image that the network received.
"""

from __future__ import annotations

from typing import Any, Literal

from lowres_d2.modeling.objectives.logit_forms import Form, check_form, logit_distance
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.modeling.objectives.query_filter import (
    Activation,
    best_class_probability,
    check_activation,
    check_threshold,
    mean_of,
)
from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import ObjectiveContext, image_sizes

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou_loss

Indices = tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]  # of images and of their queries


class QueryLogitDistillation(Objective):
    """The student's queries learn the predictions of the teacher's confident queries.

    Losses are means over the kept queries of the batch, 0 if there are none: ``cls``, and with
    ``learn_boxes`` also ``l1``, summed over the four box coordinates, and ``giou``, both as in the
    detector's own criterion.

    Args:
        path: module whose output is the last layer's class logits (N, Q, K).
        box_path: module whose output is its boxes (N, Q, 4); used to match and to learn boxes.
        teacher_path: ``path`` in the teacher; None if it is the same.
        teacher_box_path: ``box_path`` in the teacher; None if it is the same.
        form: ``"softmax"`` is the paper's Eq. 6 and 7; see ``logit_forms``.
        temperature: T of the form.
        threshold: best class probability above which a query of the teacher is kept.
        activation: function that turns logits into the filter's probabilities: ``"sigmoid"``, as in
            the detector itself, or ``"softmax"`` over the classes.
        pairing: ``"index"``: each query learns from the teacher's query of the same index, for a
            student that starts from the teacher's weights; ``"hungarian"`` matches queries.
        learn_boxes: whether boxes are learned, too.
        times_squared_temperature: see ``logit_distance``; Eq. 7 has no such factor.
        name: group of the losses.
    """

    def __init__(
        self,
        path: str = "pred_logits",
        box_path: str = "pred_boxes",
        teacher_path: str | None = None,
        teacher_box_path: str | None = None,
        form: Form = "softmax",
        temperature: float = 1.0,
        threshold: float = 0.5,
        activation: Activation = "sigmoid",
        pairing: Literal["index", "hungarian"] = "index",
        learn_boxes: bool = False,
        times_squared_temperature: bool = False,
        name: str = "logit",
    ) -> None:
        super().__init__(name)
        check_form(form, temperature, filtered=True)
        check_activation(activation)
        check_threshold(threshold)
        if pairing not in ("index", "hungarian"):
            raise ValueError(f"pairing={pairing!r}: expected 'index' or 'hungarian'")
        self.form = form
        self.temperature = temperature
        self.times_squared_temperature = times_squared_temperature
        self.threshold = threshold
        self.activation = activation
        self.pairing = pairing
        self.learn_boxes = learn_boxes
        self.student_taps = (Tap(path, 0),)
        self.teacher_taps = (Tap(teacher_path or path, 0),)
        if learn_boxes or pairing == "hungarian":
            self.student_taps += (Tap(box_path, 0),)
            self.teacher_taps += (Tap(teacher_box_path or box_path, 0),)
        if pairing == "hungarian":
            # Imported here because importing scipy's optimizers takes longer than this package.
            from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher

            self.matcher = HungarianMatcher()

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """Loss ``cls``, and ``l1`` and ``giou`` if boxes are learned."""
        student, own_boxes = _read(self.student_taps, context.student_taps)
        teacher, boxes = _read(self.teacher_taps, context.teacher_taps)
        self._check(student, teacher)
        if own_boxes is not None:
            own_boxes = own_boxes * _low_res_shares(context, own_boxes)
        own, kept = self._pairs(student, own_boxes, teacher, boxes)
        distance = logit_distance(
            student[own],
            teacher[kept],
            self.form,
            self.temperature,
            times_squared_temperature=self.times_squared_temperature,
        )
        # The paper does not say how queries are reduced; the authors' code sums over all 300.
        losses = {"cls": mean_of(distance)}
        if self.learn_boxes:
            ours, theirs = own_boxes[own], boxes[kept]
            losses["l1"] = mean_of((ours - theirs).abs().sum(dim=1))
            corners = (box_convert(b, "cxcywh", "xyxy") for b in (ours, theirs))
            # As in the criterion: the default of 1e-7 is not small beside the relative area of a
            # tiny object.
            losses["giou"] = mean_of(generalized_box_iou_loss(*corners, eps=1e-12))
        return losses

    @torch.no_grad()
    def _pairs(
        self,
        student: Float[Tensor, "N Q K"],
        own_boxes: Float[Tensor, "N Q 4"] | None,
        teacher: Float[Tensor, "N teacher_Q K"],
        boxes: Float[Tensor, "N teacher_Q 4"] | None,
    ) -> tuple[Indices, Indices]:
        """Queries of the student, and the teacher's queries that they learn from."""
        best = best_class_probability(teacher, self.activation)
        # Algorithm 1 sorts all classes in step 1, only to read the best one.
        image, query = (best > self.threshold).nonzero(as_tuple=True)
        if self.pairing == "index":
            return (image, query), (image, query)
        kept = [query[image == i] for i in range(len(teacher))]
        matches = self.matcher(
            student,
            own_boxes,
            [
                {"labels": teacher[i, chosen].argmax(dim=1), "boxes": boxes[i, chosen]}
                for i, chosen in enumerate(kept)
            ],
        )
        device = student.device
        # The matcher works on the CPU.
        own = torch.cat([queries.to(device) for queries, _ in matches])
        their = torch.cat(
            [chosen[objects.to(device)] for chosen, (_, objects) in zip(kept, matches, strict=True)]
        )
        counts = torch.tensor([len(queries) for queries, _ in matches])
        image = torch.arange(len(matches)).repeat_interleave(counts).to(device)
        return (image, own), (image, their)

    def _check(self, student: Float[Tensor, "N _Q _K"], teacher: Float[Tensor, "N _Q _K"]) -> None:
        check_form(self.form, self.temperature, student.shape[-1])
        what = None
        if student.shape[-1] != teacher.shape[-1]:
            what = "classes", student.shape[-1], teacher.shape[-1], "both need the same classes"
        elif self.pairing == "index" and student.shape[1] != teacher.shape[1]:
            what = "queries", student.shape[1], teacher.shape[1], "use pairing='hungarian'"
        if what:
            raise ValueError(
                f"objective {self.name!r}: the student's {self.student_taps[0].path} has {what[1]} "
                f"{what[0]}, the teacher's {self.teacher_taps[0].path} {what[2]}: {what[3]}"
            )


def _read(
    taps: tuple[Tap, ...], captured: Any
) -> tuple[Float[Tensor, "N Q K"], Float[Tensor, "N Q 4"] | None]:
    """Logits, and boxes if they are tapped."""
    # The teacher may run in float16, the student under autocast.
    logits, *boxes = (captured[tap][0].float() for tap in taps)
    return logits, boxes[0] if boxes else None


def _low_res_shares(
    context: ObjectiveContext, like: Float[Tensor, "N Q 4"]
) -> Float[Tensor, "N 1 4"]:
    """Size of the low-resolution image relative to the full one; 1 where nothing is padded.

    At 4x a low-resolution image covers up to three columns more than the full image has.
    """
    shares = [
        [low[1] * float(context.factor) / full[1], low[0] * float(context.factor) / full[0]] * 2
        for low, full in zip(image_sizes(context.low_res_images), context.sizes, strict=True)
    ]
    return like.new_tensor(shares)[:, None]
