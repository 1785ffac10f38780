"""DFD on the small FCOS, your images degraded 4x, from a run of full_fcos_small_own."""

from ...projects.DFD.configs.quick.dfd4_fcos_small_64_plates import (
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .full_fcos_small_own import data, dataloader, num_classes

model.detector.num_classes = num_classes
# A run's folder stands for its best weights; the teacher has the same ones.
train.init_checkpoint = "output/full_fcos_small_own"
train.max_iter = 1000
train.eval_period = 500
train.checkpointer.period = 250
