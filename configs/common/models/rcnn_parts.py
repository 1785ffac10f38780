"""What the two-stage detectors share: proposals, box predictor, and who is matched with whom."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNOutputLayers

# One map of stride 16 (C4); the pyramid changes maps, anchors and numbers of proposals.
rpn = L(RPN)(
    anchor_generator=L(DefaultAnchorGenerator)(
        # By level, in pixels; then width to height; both times every combination.
        sizes=[[32, 64, 128, 256, 512]],
        aspect_ratios=[0.5, 1.0, 2.0],
        offset=0.0,
        strides=[16],
    ),
    # IoU under 0.3 is background, over 0.7 an object, and so is every object's best anchor.
    anchor_matcher=L(Matcher)(
        labels=[0, -1, 1], thresholds=[0.3, 0.7], allow_low_quality_matches=True
    ),
    batch_size_per_image=256,
    box2box_transform=L(Box2BoxTransform)(weights=[1.0] * 4),
    head=L(StandardRPNHead)(in_channels=1024, num_anchors=15),
    in_features=["res4"],
    nms_thresh=0.7,
    positive_fraction=0.5,
    # (in training, in testing): before NMS by level, after it in all.
    pre_nms_topk=[12000, 6000],
    post_nms_topk=[2000, 1000],
)

# Proposals with an IoU of at least this are objects.
proposal_matcher = L(Matcher)(labels=[0, 1], thresholds=[0.5], allow_low_quality_matches=False)

predictor = L(FastRCNNOutputLayers)(
    box2box_transform=L(Box2BoxTransform)(weights=[10.0, 10.0, 5.0, 5.0]),
    input_shape=L(ShapeSpec)(channels=1024),
    num_classes="${..num_classes}",
    test_nms_thresh=0.5,
    test_score_thresh=0.05,
    test_topk_per_image=100,
)
