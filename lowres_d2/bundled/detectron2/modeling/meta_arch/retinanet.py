"""RetinaNet: Lin et al., "Focal Loss for Dense Object Detection" (2017).

Shapes: N images, R anchors of all levels, A anchors a cell, K classes. Labels are 0 to K - 1 for
classes, K for background and -1 for ignored. Boxes are XYXY in pixels of the batched image.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lowres_d2.level_turns import start_levels

import torch
from detectron2._uncovered import uncovered
from detectron2.layers import CycleBatchNormList, ShapeSpec, cat, get_norm
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.box_regression import Box2BoxTransform, _dense_box_regression_loss
from detectron2.modeling.matcher import Matcher, match_boxes
from detectron2.modeling.meta_arch.build import META_ARCH_REGISTRY
from detectron2.modeling.meta_arch.dense_detector import DenseDetector, permute_to_N_HWA_K
from detectron2.structures import Boxes, ImageList, Instances
from fvcore.nn import sigmoid_focal_loss
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["RetinaNet", "permute_to_N_HWA_K"]

logger = logging.getLogger(__name__)


@META_ARCH_REGISTRY.register()
class RetinaNet(DenseDetector):
    """Anchors on a pyramid, classified by focal loss."""

    from_config = uncovered("RetinaNet.from_config")

    def __init__(
        self,
        *,
        backbone: Backbone,
        head: nn.Module,
        head_in_features: Sequence[str] | None,
        anchor_generator: nn.Module,
        box2box_transform: Box2BoxTransform,
        anchor_matcher: Matcher,
        num_classes: int,
        focal_loss_alpha: float = 0.25,
        focal_loss_gamma: float = 2.0,
        smooth_l1_beta: float = 0.0,
        box_reg_loss_type: str = "smooth_l1",
        test_score_thresh: float = 0.05,
        test_topk_candidates: int = 1000,
        test_nms_thresh: float = 0.5,
        max_detections_per_image: int = 100,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        vis_period: int = 0,
        input_format: str = "BGR",
    ):
        """
        Args:
            backbone: gives the levels of features.
            head: maps the levels to class logits (N, A * K, H, W) and box deltas (N, A * 4, H, W).
            head_in_features: the levels that the head gets.
            anchor_generator: makes the anchors of each level.
            box2box_transform: what the deltas mean.
            anchor_matcher: labels anchors by their IoU with the ground truth.
            num_classes: K, without background.
            focal_loss_alpha: weight of positives against negatives.
            focal_loss_gamma: exponent that quiets easy examples.
            smooth_l1_beta: where smooth L1 turns from squared to absolute.
            box_reg_loss_type: `smooth_l1`, `giou`, `diou` or `ciou`.
            test_score_thresh: detections score above this.
            test_topk_candidates: number per level that enter NMS, at most.
            test_nms_thresh: IoU above which NMS drops the weaker of two.
            max_detections_per_image: at most so many leave it.
            pixel_mean: subtracted from each channel.
            pixel_std: divides each channel.
            vis_period: kept for `visualize_training`'s callers.
            input_format: channel order of the images.
        """
        super().__init__(
            backbone, head, head_in_features, pixel_mean=pixel_mean, pixel_std=pixel_std
        )
        self.num_classes = num_classes
        self.anchor_generator = anchor_generator
        self.box2box_transform = box2box_transform
        self.anchor_matcher = anchor_matcher
        self.focal_loss_alpha = focal_loss_alpha
        self.focal_loss_gamma = focal_loss_gamma
        self.smooth_l1_beta = smooth_l1_beta
        self.box_reg_loss_type = box_reg_loss_type
        self.test_score_thresh = test_score_thresh
        self.test_topk_candidates = test_topk_candidates
        self.test_nms_thresh = test_nms_thresh
        self.max_detections_per_image = max_detections_per_image
        self.vis_period = vis_period
        self.input_format = input_format

    def forward_training(
        self,
        images: ImageList,
        features: list[Tensor],
        predictions: Sequence[list[Tensor]],
        gt_instances: list[Instances],
    ) -> dict[str, Tensor]:
        """Losses `loss_cls` and `loss_box_reg`."""
        logits, deltas = self._transpose_dense_predictions(predictions, [self.num_classes, 4])
        anchors = self._anchors(features)
        gt_labels, gt_boxes = self.label_anchors(anchors, gt_instances)
        return self.losses(anchors, logits, gt_labels, deltas, gt_boxes)

    def losses(
        self,
        anchors: list[Boxes],
        pred_logits: list[Tensor],
        gt_labels: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        gt_boxes: list[Tensor],
    ) -> dict[str, Tensor]:
        """Focal loss of the classes and box loss of the positives, over a running count of these.

        Args:
            anchors: those of each level.
            pred_logits: (N, anchors of the level, K) for each level.
            gt_labels: (R,) for each image.
            pred_anchor_deltas: (N, anchors of the level, 4) for each level.
            gt_boxes: (R, 4) for each image; those of negatives do not matter.
        """
        labels = torch.stack(gt_labels)  # (N, R)
        valid = labels >= 0
        positive = valid & (labels != self.num_classes)
        normalizer = self._update_normalizer(positive, 100)
        logits = cat(pred_logits, dim=1)[valid]
        target = F.one_hot(labels[valid], num_classes=self.num_classes + 1)[:, :-1]
        loss_cls = sigmoid_focal_loss(
            logits,
            target.to(logits.dtype),
            alpha=self.focal_loss_alpha,
            gamma=self.focal_loss_gamma,
            reduction="sum",
        )
        loss_box_reg = _dense_box_regression_loss(
            anchors,
            self.box2box_transform,
            pred_anchor_deltas,
            gt_boxes,
            positive,
            box_reg_loss_type=self.box_reg_loss_type,
            smooth_l1_beta=self.smooth_l1_beta,
        )
        return {"loss_cls": loss_cls / normalizer, "loss_box_reg": loss_box_reg / normalizer}

    @torch.no_grad()
    def label_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Give each anchor a class and the box it is to predict.

        Args:
            anchors: those of each level.
            gt_instances: ground truth of each image.

        Returns:
            Labels (R,) and boxes (R, 4) for each image.
        """
        all_anchors = Boxes.cat(anchors)
        gt_labels, matched_boxes = [], []
        for truth in gt_instances:
            index, quality = match_boxes(self.anchor_matcher, truth.gt_boxes, all_anchors)
            if len(truth) > 0:
                labels = truth.gt_classes[index]
                labels[quality == 0] = self.num_classes
                labels[quality == -1] = -1
                boxes = truth.gt_boxes.tensor[index]
            else:
                labels = torch.full_like(index, self.num_classes)
                boxes = torch.zeros_like(all_anchors.tensor)
            gt_labels.append(labels)
            matched_boxes.append(boxes)
        return gt_labels, matched_boxes

    def forward_inference(
        self, images: ImageList, features: list[Tensor], predictions: Sequence[list[Tensor]]
    ) -> list[Instances]:
        """Detections of each image, in its pixels as batched."""
        logits, deltas = self._transpose_dense_predictions(predictions, [self.num_classes, 4])
        anchors = self._anchors(features)
        return [
            self.inference_single_image(
                anchors,
                [level[i].sigmoid() for level in logits],
                [level[i] for level in deltas],
                size,
            )
            for i, size in enumerate(images.image_sizes)
        ]


class RetinaNetHead(nn.Module):
    """Two towers of convolutions, shared by all levels: classes and boxes."""

    from_config = uncovered("RetinaNetHead.from_config")

    def __init__(
        self,
        *,
        input_shape: Sequence[ShapeSpec],
        num_classes: int,
        num_anchors: int,
        conv_dims: Sequence[int],
        norm: Any = "",
        prior_prob: float = 0.01,
    ):
        """
        Args:
            input_shape: the levels; all have the same number of channels.
            num_classes: K, without background.
            num_anchors: A.
            conv_dims: output channels of each convolution of a tower.
            norm: name or factory of the towers' normalization, see `get_norm`; `BN` and `SyncBN`
                keep statistics of their own for each level.
            prior_prob: score of every class at the start of training (paper, section 4.1).
        """
        super().__init__()
        self._num_features = len(input_shape)
        norm = _norm_per_level(norm, self._num_features)
        widths = [input_shape[0].channels, *conv_dims]
        towers: tuple[list[nn.Module], list[nn.Module]] = ([], [])
        for before, after in pairwise(widths):
            for tower in towers:
                tower.append(nn.Conv2d(before, after, kernel_size=3, padding=1))
                if norm:
                    tower.append(get_norm(norm, after))
                tower.append(nn.ReLU())
        self.cls_subnet, self.bbox_subnet = (nn.Sequential(*tower) for tower in towers)
        self.cls_score = nn.Conv2d(widths[-1], num_anchors * num_classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(widths[-1], num_anchors * 4, 3, padding=1)
        for part in (self.cls_subnet, self.bbox_subnet, self.cls_score, self.bbox_pred):
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.normal_(layer.weight, std=0.01)
                    nn.init.zeros_(layer.bias)
        nn.init.constant_(self.cls_score.bias, -math.log((1 - prior_prob) / prior_prob))

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Predict at every cell of every level.

        Args:
            features: the levels, (N, C, H, W) each.

        Returns:
            Class logits (N, A * K, H, W) and box deltas (N, A * 4, H, W) of each level.
        """
        assert len(features) == self._num_features, (
            "RetinaNetHead: expected one feature map for each input_shape"
        )
        start_levels(self)
        logits = [self.cls_score(self.cls_subnet(level)) for level in features]
        return logits, [self.bbox_pred(self.bbox_subnet(level)) for level in features]


def _norm_per_level(norm: Any, num_levels: int) -> Any:
    """The norm for a layer that all levels go through, one after the other."""
    if norm in ("BN", "SyncBN"):
        layer_class = nn.BatchNorm2d if norm == "BN" else nn.SyncBatchNorm
        logger.info("%s with statistics of its own for each of %d levels", norm, num_levels)
        return lambda channels: CycleBatchNormList(
            num_levels, bn_class=layer_class, num_features=channels
        )
    if norm and "BatchNorm" in type(get_norm(norm, 32)).__name__:
        logger.warning("norm %s shares its statistics over all levels, which may not train", norm)
    return norm
