"""FCOS on P2 to P6 for tiny objects, ResNet-18: strides 4 to 64, P6 from P5.

A level is for objects whose farthest side is 4 to 8 strides from a cell: up to 32 px on P2, over
256 px on P6. An object under 4 px may contain the centre of no cell; with NearestPointFCOS as
``_target_`` it has a positive cell all the same.
"""

from .fcos import model
from .fpn_r18_p2_p6 import pixel_mean, pixel_std, pyramid

model.backbone = pyramid
model.head_in_features = ["p2", "p3", "p4", "p5", "p6"]
# Statistics of its own for each level.
model.head.norm = "BN"

# AI-TOD's classes.
model.num_classes = 8
model.test_score_thresh = 0.05
model.test_nms_thresh = 0.5
# Boxes per level that go into NMS, and detections per image: tiny objects come in crowds.
model.test_topk_candidates = 3000
model.max_detections_per_image = 1500
model.pixel_mean = pixel_mean
model.pixel_std = pixel_std
