"""What the two-stage detectors share: proposals from a feature map of stride 16, and heads."""

from copy import deepcopy

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNOutputLayers

from .anchors import anchor_generator, box_offsets, matcher
from .resnet import pixels, resnet50

rpn = L(RPN)(
    # Feature maps that the RPN works on.
    in_features=["res4"],
    head=L(StandardRPNHead)(
        # Channels of these feature maps.
        in_channels=1024,
        # Anchors per cell: sizes times aspect ratios.
        num_anchors=15,
    ),
    anchor_generator=anchor_generator,
    anchor_matcher=matcher,
    box2box_transform=box_offsets,
    # Anchors per image sampled for the loss, and the largest share of positives among them.
    batch_size_per_image=256,
    positive_fraction=0.5,  # the rest is background
    # (in training, in testing): proposals per feature map that go into NMS.
    pre_nms_topk=[12000, 6000],
    # (in training, in testing): proposals per image that are kept after it.
    post_nms_topk=[2000, 1000],
    # NMS: IoU above which the lower-scoring of two proposals is dropped.
    nms_thresh=0.7,
)

pooler = L(ROIPooler)(
    # RoIAlign corrected by half a pixel against ROIAlign: aligned with the feature map.
    pooler_type="ROIAlignV2",
    # Samples along each side of a bin; 0: as many as the bin has cells of the feature map.
    sampling_ratio=0,
    # 1 / stride of each feature map.
    scales=[1 / 16],
    # Bins along each side of a region.
    output_size=14,
)

predictor = L(FastRCNNOutputLayers)(
    # Output of the box head.
    input_shape=L(ShapeSpec)(
        # Channels of a pooled feature map, or features of a box if it has no height and width.
        channels=1024
    ),
    num_classes="${..num_classes}",  # as the heads'
    box2box_transform=deepcopy(box_offsets),
    # Lowest score of a detection; and NMS: IoU above which the lower-scoring of a class is dropped.
    test_score_thresh=0.05,
    test_nms_thresh=0.5,  # COCO's usual
    # Detections kept per image.
    test_topk_per_image=100,
)
predictor.box2box_transform.weights = [10.0, 10.0, 5.0, 5.0]

# Proposals with an IoU of 0.5 or more with an object are positive, all others background.
proposal_matcher = deepcopy(matcher)
proposal_matcher.thresholds = [0.5]
proposal_matcher.labels = [0, 1]
proposal_matcher.allow_low_quality_matches = False

model = L(GeneralizedRCNN)(
    **pixels,
    backbone=resnet50,
    proposal_generator=rpn,
    roi_heads=dict(
        # Contiguous labels 0 .. num_classes - 1; the predictor adds background.
        num_classes=80,
        # Proposals per image sampled for the loss.
        batch_size_per_image=512,
        # The largest share of positives among them.
        positive_fraction=0.25,
        proposal_matcher=proposal_matcher,
        box_predictor=predictor,
    ),
)
