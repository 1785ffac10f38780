"""FCOS (Tian et al. 2019) with centre sampling, ResNet-50 FPN, as Detectron2 has it."""

from detectron2.modeling import FCOS
from detectron2.modeling.meta_arch.fcos import FCOSHead

from .dense import model

model._target_ = FCOS
del model.input_format  # which FCOS does not take
model.head._target_ = FCOSHead
# After each convolution of the towers: group norm of 32 groups.
model.head.norm = "GN"
# Least score of a detection, the root of class score times centre-ness.
model.test_score_thresh = 0.2
# Of two boxes of a class with a larger IoU the better one stays.
model.test_nms_thresh = 0.6
