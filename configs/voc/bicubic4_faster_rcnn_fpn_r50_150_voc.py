"""Faster R-CNN FPN, ResNet-50, on VOC images downsampled 4x (bicubic)."""

from lowres_d2.modeling.resample import Bicubic

from detectron2.config import LazyCall as L

from .full_faster_rcnn_fpn_r50_600_voc import dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(Bicubic)(factor=4)
