"""Cascade R-CNN: Cai and Vasconcelos, arXiv:1712.00726, section 4.

A sequence of heads, each trained at a higher IoU on the boxes that the one before it predicted.
Shapes and frames as in ``roi_heads.py``; T stages.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.modeling.matcher import Matcher, match_boxes
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers, fast_rcnn_inference
from detectron2.modeling.roi_heads.roi_heads import (
    ROI_HEADS_REGISTRY,
    StandardROIHeads,
    _log_samples,
)
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn


class _ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.scale, None


@ROI_HEADS_REGISTRY.register()
class CascadeROIHeads(StandardROIHeads):
    """T heads in sequence; scores are averaged, boxes come from the last.

    Args:
        box_in_features: names of the feature maps to pool from.
        box_pooler: from feature maps and boxes to (R, C, H, W), used by all stages.
        box_heads: T heads.
        box_predictors: T predictors, class-agnostic in boxes.
        proposal_matchers: T matchers; the first also samples the proposals.
        **kwargs: those of `StandardROIHeads`.
    """

    def __init__(
        self,
        *,
        box_in_features: list[str],
        box_pooler: ROIPooler,
        box_heads: list[nn.Module],
        box_predictors: list[nn.Module],
        proposal_matchers: list[Matcher],
        **kwargs,
    ) -> None:
        if "proposal_matcher" in kwargs:
            raise ValueError("proposal_matcher: a cascade takes proposal_matchers, one per stage")
        stages = len(box_heads)
        if not len(box_predictors) == len(proposal_matchers) == stages:
            raise ValueError(
                f"{stages} box_heads, {len(box_predictors)} box_predictors and "
                f"{len(proposal_matchers)} proposal_matchers: expected one of each per stage"
            )
        super().__init__(
            box_in_features=box_in_features,
            box_pooler=box_pooler,
            box_head=nn.ModuleList(box_heads),
            box_predictor=nn.ModuleList(box_predictors),
            proposal_matcher=proposal_matchers[0],
            **kwargs,
        )
        self.num_cascade_stages = stages
        self.proposal_matchers = proposal_matchers

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """See `ROIHeads.forward`; losses end in ``_stage<k>``."""
        if self.training:
            assert targets is not None, "ROI heads train on targets"
            proposals = self.label_and_sample_proposals(proposals, targets)
            losses = self._forward_box(features, proposals, targets)
            losses |= self._forward_mask(features, proposals)
            losses |= self._forward_keypoint(features, proposals)
            return proposals, losses
        detections = self._forward_box(features, proposals)
        return self.forward_with_given_boxes(features, detections), {}

    def _forward_box(
        self,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> dict[str, Tensor] | list[Instances]:
        maps = [features[name] for name in self.box_in_features]
        image_sizes = [p.image_size for p in proposals]
        losses: dict[str, Tensor] = {}
        probs, boxes = [], []
        for stage in range(self.num_cascade_stages):
            if stage > 0:
                proposals = self._create_proposals_from_boxes(boxes, image_sizes)
                if self.training:
                    proposals = self._match_and_label_boxes(proposals, stage, targets)
            predictor: FastRCNNOutputLayers = self.box_predictor[stage]
            predictions = self._run_stage(maps, proposals, stage)
            if self.training:
                stage_losses = self._stage_losses(predictor, predictions, proposals, stage)
                losses |= {f"{name}_stage{stage}": loss for name, loss in stage_losses.items()}
            else:
                probs.append(predictor.predict_probs(predictions, proposals))
            if not self.training or stage < self.num_cascade_stages - 1:
                boxes = predictor.predict_boxes(predictions, proposals)
        if self.training:
            return losses

        scores = [sum(stages) / self.num_cascade_stages for stages in zip(*probs, strict=True)]
        return fast_rcnn_inference(
            boxes,
            scores,
            image_sizes,
            predictor.test_score_thresh,
            predictor.test_nms_thresh,
            predictor.test_topk_per_image,
        )[0]

    def _stage_losses(
        self,
        predictor: FastRCNNOutputLayers,
        predictions: tuple[Tensor, Tensor],
        proposals: list[Instances],
        stage: int,
    ) -> dict[str, Tensor]:
        if not has_event_storage():
            return predictor.losses(predictions, proposals)
        with get_event_storage().name_scope(f"stage{stage}"):
            return predictor.losses(predictions, proposals)

    @torch.no_grad()
    def _match_and_label_boxes(
        self, proposals: list[Instances], stage: int, targets: list[Instances]
    ) -> list[Instances]:
        """Label all boxes of a later stage, without sampling: ``gt_classes`` and ``gt_boxes``."""
        total = background = 0
        for proposed, target in zip(proposals, targets, strict=True):
            matches, labels = match_boxes(
                self.proposal_matchers[stage], target.gt_boxes, proposed.proposal_boxes
            )
            if len(target):
                proposed.gt_classes = target.gt_classes[matches]
                proposed.gt_classes[labels == 0] = self.num_classes
                proposed.gt_boxes = target.gt_boxes[matches]
            else:
                proposed.gt_classes = torch.full_like(matches, self.num_classes)
                proposed.gt_boxes = Boxes(torch.zeros_like(proposed.proposal_boxes.tensor))
            total += len(labels)
            background += (labels != 1).sum().item()
        _log_samples(f"stage{stage}/roi_head", total, background, len(proposals))
        return proposals

    def _run_stage(
        self, features: list[Tensor], proposals: list[Instances], stage: int
    ) -> tuple[Tensor, Tensor]:
        regions = self.box_pooler(features, [p.proposal_boxes for p in proposals])
        if self.training:
            # The paper averages the stages' losses and trains the heads T times as fast. The sum
            # of losses does that, once what flows back into the shared features is divided by T.
            regions = _ScaleGradient.apply(regions, 1.0 / self.num_cascade_stages)
        return self.box_predictor[stage](self.box_head[stage](regions))

    def _create_proposals_from_boxes(
        self, boxes: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[Instances]:
        """Clipped boxes as proposals for the next stage; in training without empty ones."""
        proposals = []
        for decoded, image_size in zip(boxes, image_sizes, strict=True):
            clipped = Boxes(decoded.detach())
            clipped.clip(image_size)
            if self.training:
                # In evaluation the scores of all stages are averaged box by box: none may go.
                clipped = clipped[clipped.nonempty()]
            proposals.append(Instances(image_size, proposal_boxes=clipped))
        return proposals
