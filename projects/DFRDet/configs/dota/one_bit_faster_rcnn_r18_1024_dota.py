"""DOTA-v2.0: Faster R-CNN, ResNet-18, in 1 bit, without foreground refinement; not in the paper."""

from .....configs.common.data.dota import dataloader
from ..aitod.one_bit_faster_rcnn_r18_800_aitod import lr_multiplier, model, optimizer, train

model.detector.detector.roi_heads.num_classes = 18
