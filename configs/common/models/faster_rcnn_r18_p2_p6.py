"""Faster R-CNN on P2 to P6 for tiny objects, ResNet-18: proposals on all, boxes from P2 to P5."""

from .faster_rcnn_fpn import model
from .fpn_r18_p2_p6 import pixel_mean, pixel_std, pyramid

# P6 is every second cell of P5, as in the original.
pyramid.top_block = model.backbone.top_block
model.backbone = pyramid

# Proposals per level and per image: tiny objects come in crowds.
model.proposal_generator.pre_nms_topk = [3000, 3000]
model.proposal_generator.post_nms_topk = [3000, 3000]

model.roi_heads.num_classes = 8
model.roi_heads.box_predictor.test_topk_per_image = 1500
model.input_format = "RGB"
model.pixel_mean = pixel_mean
model.pixel_std = pixel_std
