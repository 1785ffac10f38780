"""Cascade R-CNN (Cai and Vasconcelos 2018) on Faster R-CNN FPN: three heads, IoU 0.5, 0.6, 0.7."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.roi_heads import (
    CascadeROIHeads,
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
)

from .faster_rcnn_fpn import model

model.roi_heads._target_ = CascadeROIHeads
model.roi_heads.pop("box_head")
model.roi_heads.pop("box_predictor")
model.roi_heads.pop("proposal_matcher")
model.roi_heads.box_heads = [
    L(FastRCNNConvFCHead)(
        input_shape=L(ShapeSpec)(channels=256, height=7, width=7),
        conv_dims=[],
        fc_dims=[1024, 1024],
    )
    for _ in range(3)
]
model.roi_heads.box_predictors = [
    L(FastRCNNOutputLayers)(
        input_shape=L(ShapeSpec)(channels=1024),
        box2box_transform=L(Box2BoxTransform)(weights=[w, w, w / 2, w / 2]),
        num_classes="${...num_classes}",
        cls_agnostic_bbox_reg=True,
        test_score_thresh=0.05,
        test_nms_thresh=0.5,
        test_topk_per_image=100,
    )
    for w in (10.0, 20.0, 30.0)
]
model.roi_heads.proposal_matchers = [
    L(Matcher)(thresholds=[iou], labels=[0, 1], allow_low_quality_matches=False)
    for iou in (0.5, 0.6, 0.7)
]
