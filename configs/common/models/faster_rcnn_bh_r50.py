"""Faster R-CNN with FPN for tiny objects, BH-ResNet50: Tables 6 and 7 of BottomHeavy.

The paper does not give anchors: these are those of TOV_mmdetection, whose baselines it cites.
"""

from .bottom_heavy import pixel_mean, pixel_std, pyramid
from .faster_rcnn_fpn import model

# P6 is every second cell of P5, for proposals only.
pyramid.top_block = model.backbone.top_block
model.backbone = pyramid

# One size per level: two strides, 8 px on P2.
anchors = model.proposal_generator.anchor_generator
anchors.sizes = [[2 * stride] for stride in anchors.strides]

# TinyPerson's one class, and its detections per image.
model.roi_heads.num_classes = 1
model.roi_heads.box_predictor.test_topk_per_image = 200
model.input_format = "RGB"
model.pixel_mean = pixel_mean
model.pixel_std = pixel_std
