"""Table 2, AI-TOD: Faster R-CNN, ResNet-18, real-valued."""

from .....configs.common.models.faster_rcnn_r18_p2_p6 import model as detector
from .full_fcos_r18_800_aitod import dataloader, lr_multiplier, model, optimizer, train

model.detector = detector
