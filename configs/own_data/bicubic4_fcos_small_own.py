"""The small FCOS on your images, downsampled 4x (bicubic)."""

from lowres_d2.modeling.resample import Bicubic

from detectron2.config import LazyCall as L

from .full_fcos_small_own import data, dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(Bicubic)(factor=4)
