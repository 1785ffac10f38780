"""The base detector: Faster R-CNN C4, ResNet-101, TT100K at its own 2048 px (Table 2)."""

from .....configs.common.data.tt100k_2048 import dataloader
from .base_faster_rcnn_c4_r101_1600_tt100k import lr_multiplier, model, optimizer, train

dataloader.train.total_batch_size = 8
