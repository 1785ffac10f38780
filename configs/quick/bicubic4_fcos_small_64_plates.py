"""The small FCOS on generated plates, downsampled 4x (bicubic) to 64x64."""

from lowres_d2.modeling.resample import Bicubic

from detectron2.config import LazyCall as L

from .full_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(Bicubic)(factor=4)
