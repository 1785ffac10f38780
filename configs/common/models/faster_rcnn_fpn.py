"""Faster R-CNN (Ren et al. 2015) with FPN (Lin et al. 2017), ResNet-50, as in Detectron2's zoo."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, StandardROIHeads

from .fpn import pyramid
from .rcnn_parts import model, pooler

# P2 to P5, and P6 for proposals only: every second cell of P5.
pyramid.bottom_up.out_features = ["res2", "res3", "res4", "res5"]
pyramid.top_block = L(LastLevelMaxPool)()
model.backbone = pyramid

rpn = model.proposal_generator
rpn.in_features = ["p2", "p3", "p4", "p5", "p6"]
rpn.head.in_channels = 256
# One anchor size per level: eight strides.
rpn.head.num_anchors = 3
rpn.anchor_generator.strides = [4, 8, 16, 32, 64]
rpn.anchor_generator.sizes = [[8 * stride] for stride in rpn.anchor_generator.strides]
rpn.pre_nms_topk = [2000, 1000]
rpn.post_nms_topk = [1000, 1000]

heads = model.roi_heads
heads._target_ = StandardROIHeads
# Levels that regions are pooled from, each from the one for its size.
heads.box_in_features = rpn.in_features[:4]
pooler.scales = [1 / stride for stride in rpn.anchor_generator.strides[:4]]
pooler.output_size = 7
heads.box_pooler = pooler
heads.box_head = L(FastRCNNConvFCHead)(
    input_shape=L(ShapeSpec)(
        # Channels of the pyramid's levels.
        channels=256,
        # The pooler's output_size.
        height=7,
        width=7,  # likewise
    ),
    # Channels of the convolutions; none here.
    conv_dims=[],
    # Features of the fully connected layers after them.
    fc_dims=[1024, 1024],
)
