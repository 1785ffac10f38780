"""The cascade with super-resolution: every stage has its own small predictor.

All stages share the generators. Each stage decides anew which boxes are small, from the boxes of
the stage before. Frames are as in ``super_resolved_heads``.
"""

from __future__ import annotations

from lowres_d2.modeling.roi_heads.super_resolved_heads import (
    Predictions,
    SuperResolvedStandardROIHeads,
)

from detectron2.modeling.roi_heads import CascadeROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Instances
from jaxtyping import Float
from torch import Tensor


class SuperResolvedCascadeROIHeads(SuperResolvedStandardROIHeads, CascadeROIHeads):
    """Cascade R-CNN's heads with super-resolution.

    Args:
        super_resolution: super-resolves the features that the box pooler gives.
        **kwargs: arguments of ``CascadeROIHeads``.
    """

    def _forward_box(
        self,
        features: dict[str, Float[Tensor, "N _C _h _w"]],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> dict[str, Float[Tensor, ""]] | list[Instances]:
        if self.training and self.is_plain:
            return CascadeROIHeads._forward_box(self, features, proposals, targets)
        if self.training:
            return self._cascade_losses(features, self._proposals_that_count(proposals), targets)
        image_sizes = [p.image_size for p in proposals]
        boxes: list[Tensor] = []
        probabilities = []
        for stage, predictor in enumerate(self.box_predictor):
            if stage > 0:
                proposals = self._create_proposals_from_boxes(boxes, image_sizes)
            predictions = self._predict(features, proposals, stage)
            probabilities.append(predictor.predict_probs(predictions, proposals))
            boxes = predictor.predict_boxes(predictions, proposals)
        # As in the plain cascade: mean scores, and the last stage's boxes and thresholds.
        scores = [sum(of) / self.num_cascade_stages for of in zip(*probabilities, strict=True)]
        thresholds = (
            predictor.test_score_thresh,
            predictor.test_nms_thresh,
            predictor.test_topk_per_image,
        )
        return fast_rcnn_inference(boxes, scores, image_sizes, *thresholds)[0]

    def _cascade_losses(
        self,
        features: dict[str, Float[Tensor, "N _C _h _w"]],
        proposals: list[Instances],
        targets: list[Instances],
    ) -> dict[str, Float[Tensor, ""]]:
        if not self._trained_groups():
            return {}
        image_sizes = [p.image_size for p in proposals]
        boxes: list[Tensor] = []
        losses = {}
        for stage in range(self.num_cascade_stages):
            if stage > 0:
                proposals = self._create_proposals_from_boxes(boxes, image_sizes)
                proposals = self._match_and_label_boxes(proposals, stage, targets)
            predictions = self._predict(features, proposals, stage)
            predictors = {
                "small": self.small_box_predictor[stage],
                "large": self.box_predictor[stage],
            }
            found = self._losses(predictions, proposals, predictors)
            losses |= {f"{name}_stage{stage}": loss for name, loss in found.items()}
            # The small predictor is a copy, so its transform of deltas is the same.
            boxes = self.box_predictor[stage].predict_boxes(predictions, proposals)
        return losses

    def _predict_regions(
        self, regions: Float[Tensor, "R C P P"], group: str, stage: int | None
    ) -> Predictions:
        if regions.requires_grad:
            # As in the plain cascade: the sum of losses trains the T heads T times as fast as
            # their mean, and the gradient into the features that they share is divided by T.
            # On a view, so that other readers of the tensor keep their gradients.
            regions = regions.view_as(regions)
            regions.register_hook(self._of_one_stage)
        if group == "small":
            return self.small_box_predictor[stage](self.small_box_head[stage](regions))
        return self.box_predictor[stage](self.box_head[stage](regions))

    def _of_one_stage(self, gradient: Tensor) -> Tensor:
        return gradient / self.num_cascade_stages
