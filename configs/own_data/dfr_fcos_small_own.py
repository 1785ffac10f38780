"""DFR-Det: the small FCOS in 1 bit on your images, from a run of base_one_bit_fcos_small_own."""

from ...projects.DFRDet.configs.quick.dfr_fcos_small_256_tiny import (
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .full_fcos_small_own import data, dataloader, num_classes

model.detector.detector.num_classes = num_classes
# A run's folder stands for its best weights.
train.init_checkpoint = "output/base_one_bit_fcos_small_own"
train.max_iter = 1000
train.eval_period = 500
train.checkpointer.period = 250
