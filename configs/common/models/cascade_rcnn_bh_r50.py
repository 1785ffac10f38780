"""Cascade R-CNN for tiny objects, BH-ResNet50: the Faster R-CNN beside it with three heads."""

from .cascade_rcnn import model as cascade
from .faster_rcnn_bh_r50 import model

detections = model.roi_heads.box_predictor.test_topk_per_image
# Three heads, for IoU 0.5, 0.6 and 0.7.
model.roi_heads = cascade.roi_heads
model.roi_heads.num_classes = 1
for predictor in model.roi_heads.box_predictors:
    predictor.test_topk_per_image = detections
