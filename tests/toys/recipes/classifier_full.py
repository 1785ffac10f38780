"""The tiny classifier on undegraded images."""

from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from .classifier import data, dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(Identity)()
