"""The real-valued small FCOS on your images that dfr_fcos_small_own takes its weights from."""

from ...projects.DFRDet.configs.quick.full_fcos_small_256_tiny import (
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .full_fcos_small_own import data, dataloader, num_classes

model.detector.detector.num_classes = num_classes
train.max_iter = 1000
train.eval_period = 500
train.checkpointer.period = 250
