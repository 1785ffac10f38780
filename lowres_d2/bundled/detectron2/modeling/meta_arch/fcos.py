"""FCOS: Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection" (2019), with the centre
sampling and GIoU loss of its later version.

Shapes: N images, M objects, S cells of all levels, K classes. A cell is kept as a square "anchor"
around its centre, as wide as its stride. Labels are 0 to K - 1 for classes, K for
background. Boxes are XYXY in pixels of the batched image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowres_d2.level_turns import start_levels
from lowres_d2.row_chunks import best_rows

import torch
from detectron2._uncovered import uncovered
from detectron2.layers import ShapeSpec, cat
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.box_regression import Box2BoxTransformLinear, _dense_box_regression_loss
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.structures import Boxes, ImageList, Instances
from fvcore.nn import sigmoid_focal_loss
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FCOS"]


class FCOS(DenseDetector):
    """A box, a class and a centre-ness at every cell of a pyramid."""

    def __init__(
        self,
        *,
        backbone: Backbone,
        head: nn.Module,
        head_in_features: Sequence[str] | None = None,
        box2box_transform: Any = None,
        num_classes: int,
        center_sampling_radius: float = 1.5,
        focal_loss_alpha: float = 0.25,
        focal_loss_gamma: float = 2.0,
        test_score_thresh: float = 0.2,
        test_topk_candidates: int = 1000,
        test_nms_thresh: float = 0.6,
        max_detections_per_image: int = 100,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ):
        """
        Args:
            backbone: gives the levels of features.
            head: maps the levels to class logits, box deltas and centre-ness, see `FCOSHead`.
            head_in_features: the levels that the head gets; by default all, by stride.
            box2box_transform: what the deltas mean; by default distances to the sides in strides.
            num_classes: K, without background.
            center_sampling_radius: cells can be positive whose centre is within so many strides of
                an object's centre along both axes.
            focal_loss_alpha: weight of positives against negatives.
            focal_loss_gamma: exponent that down-weights easy examples.
            test_score_thresh: detections score above this.
            test_topk_candidates: number per level that enter NMS, at most.
            test_nms_thresh: IoU above which NMS drops the lower-scored of two boxes.
            max_detections_per_image: number of detections after NMS, at most.
            pixel_mean: subtracted from each channel.
            pixel_std: divides each channel.
        """
        super().__init__(
            backbone, head, head_in_features, pixel_mean=pixel_mean, pixel_std=pixel_std
        )
        self.num_classes = num_classes
        shapes = backbone.output_shape()
        strides = [shapes[name].stride for name in self.head_in_features]
        self.anchor_generator = DefaultAnchorGenerator(
            sizes=[[stride] for stride in strides], aspect_ratios=[1.0], strides=strides
        )
        if box2box_transform is None:
            box2box_transform = Box2BoxTransformLinear(normalize_by_size=True)
        self.box2box_transform = box2box_transform
        self.center_sampling_radius = float(center_sampling_radius)
        self.focal_loss_alpha = focal_loss_alpha
        self.focal_loss_gamma = focal_loss_gamma
        self.test_score_thresh = test_score_thresh
        self.test_topk_candidates = test_topk_candidates
        self.test_nms_thresh = test_nms_thresh
        self.max_detections_per_image = max_detections_per_image

    def forward_training(
        self,
        images: ImageList,
        features: list[Tensor],
        predictions: Sequence[list[Tensor]],
        gt_instances: list[Instances],
    ) -> dict[str, Tensor]:
        """Losses `loss_fcos_cls`, `loss_fcos_loc` and `loss_fcos_ctr`."""
        logits, deltas, centerness = self._transpose_dense_predictions(
            predictions, [self.num_classes, 4, 1]
        )
        anchors = self._anchors(features)
        gt_labels, gt_boxes = self.label_anchors(anchors, gt_instances)
        return self.losses(anchors, logits, gt_labels, deltas, gt_boxes, centerness)

    @torch.no_grad()
    def _match_anchors(self, gt_boxes: Boxes, anchors: list[Boxes]) -> Tensor:
        """How well each cell suits each object.

        A cell suits an object when the cell's centre lies inside the object's box, within the
        sampling radius of its centre, and the cell's level is the one for the object's extent
        (paper, sections 3.2 and 3.3).

        Args:
            gt_boxes: M objects.
            anchors: the cells of each level, finest first.

        Returns:
            (M, S): 0 where it does not suit, otherwise the greater the smaller the object is, so
            that the smallest of several objects wins.
        """
        cells = Boxes.cat(anchors)
        strides = cells.tensor[:, 2] - cells.tensor[:, 0]  # (S,)
        # The farthest side is 4 to 8 strides off; the outer levels take all that is below or above.
        lower, upper = strides * 4, strides * 8
        lower[: len(anchors[0])] = 0
        upper[len(upper) - len(anchors[-1]) :] = float("inf")

        # One (M, S) matrix per quantity, which is far faster than the last axis of an (M, S, 4).
        x, y = cells.get_centers().unbind(dim=1)
        center_x, center_y = gt_boxes.get_centers()[..., None].unbind(dim=1)  # (M, 1)
        x1, y1, x2, y2 = gt_boxes.tensor[..., None].unbind(dim=1)
        left, top, right, bottom = x - x1, y - y1, x2 - x, y2 - y
        nearest = torch.minimum(torch.minimum(left, right), torch.minimum(top, bottom))
        farthest = torch.maximum(torch.maximum(left, right), torch.maximum(top, bottom))
        reach = torch.maximum((x - center_x).abs_(), (y - center_y).abs_())
        suits = reach < self.center_sampling_radius * strides
        suits &= (nearest > 0) & (farthest > lower) & (farthest < upper)
        return suits * (1e8 - gt_boxes.area()[:, None])

    @torch.no_grad()
    def label_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Give each cell a class and the box it is to predict.

        Args:
            anchors: the cells of each level.
            gt_instances: ground truth of each image.

        Returns:
            Labels (S,) and boxes (S, 4) for each image.
        """
        gt_labels, matched_boxes = [], []
        for truth in gt_instances:
            if len(truth) > 0:
                quality, index = best_rows(
                    lambda rows, boxes=truth.gt_boxes: self._match_anchors(boxes[rows], anchors),
                    len(truth),
                    sum(len(level) for level in anchors),
                )
                labels = truth.gt_classes[index]
                labels[quality < 1e-5] = self.num_classes
                boxes = truth.gt_boxes.tensor[index]
            else:
                boxes = torch.zeros_like(Boxes.cat(anchors).tensor)
                labels = truth.gt_classes.new_full((len(boxes),), self.num_classes)
            gt_labels.append(labels)
            matched_boxes.append(boxes)
        return gt_labels, matched_boxes

    def losses(
        self,
        anchors: list[Boxes],
        pred_logits: list[Tensor],
        gt_labels: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        gt_boxes: list[Tensor],
        pred_centerness: list[Tensor],
    ) -> dict[str, Tensor]:
        """Focal, GIoU and centre-ness losses, over a running count of positives.

        Args:
            anchors: the cells of each level.
            pred_logits: (N, cells of the level, K) for each level.
            gt_labels: (S,) for each image.
            pred_anchor_deltas: (N, cells of the level, 4) for each level.
            gt_boxes: (S, 4) for each image; those of negatives do not matter.
            pred_centerness: logits (N, cells of the level, 1) for each level.
        """
        labels = torch.stack(gt_labels)  # (N, S)
        positive = (labels >= 0) & (labels != self.num_classes)
        normalizer = self._update_normalizer(positive, 300)
        logits = cat(pred_logits, dim=1)
        target = F.one_hot(labels, num_classes=self.num_classes + 1)[:, :, :-1]
        loss_cls = sigmoid_focal_loss(
            logits,
            target.to(logits.dtype),
            alpha=self.focal_loss_alpha,
            gamma=self.focal_loss_gamma,
            reduction="sum",
        )
        loss_loc = _dense_box_regression_loss(
            anchors,
            self.box2box_transform,
            pred_anchor_deltas,
            gt_boxes,
            positive,
            box_reg_loss_type="giou",
        )
        centerness = cat(pred_centerness, dim=1).squeeze(dim=2)  # (N, S)
        centerness_target = self.compute_ctrness_targets(anchors, gt_boxes)
        loss_ctr = F.binary_cross_entropy_with_logits(
            centerness[positive], centerness_target[positive], reduction="sum"
        )
        return {
            "loss_fcos_cls": loss_cls / normalizer,
            "loss_fcos_loc": loss_loc / normalizer,
            "loss_fcos_ctr": loss_ctr / normalizer,
        }

    def compute_ctrness_targets(self, anchors: list[Boxes], gt_boxes: list[Tensor]) -> Tensor:
        """Centre-ness (N, S) of each cell in its box; meaningless outside of it.

        Args:
            anchors: the cells of each level.
            gt_boxes: (S, 4) for each image.
        """
        cells = Boxes.cat(anchors).tensor
        left, top, right, bottom = self.box2box_transform.get_deltas(
            cells, torch.stack(gt_boxes)
        ).unbind(dim=-1)
        # Equation 3.
        across = torch.minimum(left, right) / torch.maximum(left, right)
        along = torch.minimum(top, bottom) / torch.maximum(top, bottom)
        return (across * along).sqrt()

    def forward_inference(
        self, images: ImageList, features: list[Tensor], predictions: Sequence[list[Tensor]]
    ) -> list[Instances]:
        """Detections of each image, in its pixels as batched."""
        logits, deltas, centerness = self._transpose_dense_predictions(
            predictions, [self.num_classes, 4, 1]
        )
        anchors = self._anchors(features)
        results = []
        for i, size in enumerate(images.image_sizes):
            # The geometric mean of the two: one threshold suits it and RetinaNet's score.
            scores = [
                (classes[i].sigmoid() * center[i].sigmoid()).sqrt()
                for classes, center in zip(logits, centerness, strict=True)
            ]
            boxes = [level[i] for level in deltas]
            results.append(self.inference_single_image(anchors, scores, boxes, size))
        return results


class FCOSHead(RetinaNetHead):
    """RetinaNet's towers with one prediction per cell, and centre-ness beside the boxes."""

    from_config = uncovered("FCOSHead.from_config")

    def __init__(
        self, *, input_shape: Sequence[ShapeSpec], conv_dims: Sequence[int], **kwargs: Any
    ):
        """
        Args:
            input_shape: the levels; all have the same number of channels.
            conv_dims: output channels of each convolution of a tower.
            kwargs: `num_classes`, `norm` and `prior_prob` of `RetinaNetHead`.
        """
        super().__init__(input_shape=input_shape, conv_dims=conv_dims, num_anchors=1, **kwargs)
        self.ctrness = nn.Conv2d(conv_dims[-1], 1, kernel_size=3, padding=1)
        nn.init.normal_(self.ctrness.weight, std=0.01)
        nn.init.zeros_(self.ctrness.bias)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Predict at every cell of every level.

        Args:
            features: the levels, (N, C, H, W) each.

        Returns:
            Class logits (N, K, H, W), box deltas (N, 4, H, W) and centre-ness logits (N, 1, H, W)
            of each level.
        """
        assert len(features) == self._num_features, (
            "FCOSHead: expected one feature map for each input_shape"
        )
        start_levels(self)
        logits = [self.cls_score(self.cls_subnet(level)) for level in features]
        towers = [self.bbox_subnet(level) for level in features]
        boxes = [self.bbox_pred(tower) for tower in towers]
        return logits, boxes, [self.ctrness(tower) for tower in towers]
