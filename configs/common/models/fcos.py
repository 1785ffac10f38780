"""FCOS (Tian et al. 2019) with centre sampling, ResNet-50 FPN, as Detectron2 has it."""

from detectron2.modeling import FCOS
from detectron2.modeling.meta_arch.fcos import FCOSHead

from .dense import model

model._target_ = FCOS
del model.input_format  # which FCOS does not take
model.head._target_ = FCOSHead
# Norm after each convolution of the towers: group norm of 32 groups.
model.head.norm = "GN"
# Lowest score of a detection, sqrt(class score x centre-ness).
model.test_score_thresh = 0.2
# NMS: IoU above which the lower-scoring of two boxes of a class is dropped.
model.test_nms_thresh = 0.6
