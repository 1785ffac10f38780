"""FCOS, ResNet-50, on images downsampled 4x (bicubic), COCO, 12 epochs."""

from lowres_d2.modeling.resample import Bicubic

from detectron2.config import LazyCall as L

from .full_fcos_r50_800_coco_1x import dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(Bicubic)(factor=4)
