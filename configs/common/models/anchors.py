"""Anchors of one feature map of stride 16, their matching to objects, and box regression."""

from detectron2.config import LazyCall as L
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher

anchor_generator = L(DefaultAnchorGenerator)(
    # sqrt(area) of the anchors in pixels, per feature map; each in every aspect ratio.
    sizes=[[32, 64, 128, 256, 512]],
    # Height / width.
    aspect_ratios=[0.5, 1.0, 2.0],
    # Stride of each feature map, in pixels.
    strides=[16],
    # Centre of the first anchor, in strides.
    offset=0.0,
)

matcher = L(Matcher)(
    # IoU with an object from which the next label is given.
    thresholds=[0.3, 0.7],
    # 0: background, -1: ignored, 1: object.
    labels=[0, -1, 1],
    # Whether an object's best anchors are positive at any IoU.
    allow_low_quality_matches=True,
)

# Regression targets: offsets of the centre, logs of width and height, each times its weight.
box_offsets = L(Box2BoxTransform)(
    # The larger the weight, the more an offset counts in the loss.
    weights=[1.0, 1.0, 1.0, 1.0],
)
