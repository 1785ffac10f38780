"""FCOS on P2 to P6 for tiny objects, BH-ResNet50: Adap-FCOS of BottomHeavy's Tables 6 and 7."""

from lowres_d2.modeling.meta_arch import RangedFCOS

from .bottom_heavy import pyramid
from .fcos_r18_p2_p6 import model

model.backbone = pyramid
# None: with group norm the head would cost more than the paper's.
model.head.norm = ""
model.num_classes = 1
model._target_ = RangedFCOS
# As in TOV_mmdetection: an object is for P2 where its sides are within 16 px of the cell, for P3
# within 32, and so on. FCOS's own limits, 8 strides, are [32, 64, 128, 256].
model.farthest_sides = [16, 32, 64, 128]
model.test_topk_candidates = 2000
model.test_nms_thresh = 0.6
model.max_detections_per_image = 200
