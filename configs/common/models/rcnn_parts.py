"""What the two-stage detectors share: proposals from one map of stride 16, and heads on them."""

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
    # Maps that it works on.
    in_features=["res4"],
    head=L(StandardRPNHead)(
        # Of these maps.
        in_channels=1024,
        # At each location: sizes times aspect ratios.
        num_anchors=15,
    ),
    anchor_generator=anchor_generator,
    anchor_matcher=matcher,
    box2box_transform=box_offsets,
    # Anchors of an image that the loss is of, and the largest share of objects among them.
    batch_size_per_image=256,
    positive_fraction=0.5,  # the rest is background
    # (in training, in testing): proposals of a map that go into NMS.
    pre_nms_topk=[12000, 6000],
    # (in training, in testing): proposals of an image that come out of it.
    post_nms_topk=[2000, 1000],
    # Of two proposals with a larger IoU the better one stays.
    nms_thresh=0.7,
)

pooler = L(ROIPooler)(
    # RoIAlign whose samples are half a pixel from those of ROIAlign: aligned with the map's.
    pooler_type="ROIAlignV2",
    # Samples along each side of a bin; 0: as many as the bin has pixels.
    sampling_ratio=0,
    # Pixels of each map to a pixel of the image.
    scales=[1 / 16],
    # Bins along each side.
    output_size=14,
)

predictor = L(FastRCNNOutputLayers)(
    # What the box head gives on.
    input_shape=L(ShapeSpec)(
        # Of a pooled map, or features of a box where it has no height and width.
        channels=1024
    ),
    num_classes="${..num_classes}",  # as the heads'
    box2box_transform=deepcopy(box_offsets),
    # Least score of a detection; and of two of a class with a larger IoU the better one stays.
    test_score_thresh=0.05,
    test_nms_thresh=0.5,  # COCO's usual
    # Detections of an image that are kept.
    test_topk_per_image=100,
)
predictor.box2box_transform.weights = [10.0, 10.0, 5.0, 5.0]

# Proposals that overlap an object by half are objects, all others background.
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
        # Proposals of an image that the loss is of.
        batch_size_per_image=512,
        # The largest share of objects among them.
        positive_fraction=0.25,
        proposal_matcher=proposal_matcher,
        box_predictor=predictor,
    ),
)
