"""Anchors of one map of stride 16, who is matched with whom, and how boxes are regressed."""

from detectron2.config import LazyCall as L
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher

anchor_generator = L(DefaultAnchorGenerator)(
    # Root of an anchor's area in pixels, by map; each in every aspect ratio.
    sizes=[[32, 64, 128, 256, 512]],
    # Height to width.
    aspect_ratios=[0.5, 1.0, 2.0],
    # Pixels between anchors, by map.
    strides=[16],
    # Where the first anchor's centre is, in strides.
    offset=0.0,
)

matcher = L(Matcher)(
    # IoU with an object at which the next label begins.
    thresholds=[0.3, 0.7],
    # 0 background, -1 counts for neither, 1 object.
    labels=[0, -1, 1],
    # Whether an object's best anchors are its own at any IoU.
    allow_low_quality_matches=True,
)

# Offsets of centre x and y, log of width and height, each times its weight.
box_offsets = L(Box2BoxTransform)(
    # The larger, the more an offset counts.
    weights=[1.0, 1.0, 1.0, 1.0],
)
