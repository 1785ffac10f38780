"""Optimizer and schedule of Sec. 4.1: SGD, 12 epochs, x 0.1 after the 8th and the 11th."""

from copy import deepcopy

from .....configs.common.optim import SGD as optimizer
from .....configs.common.schedule import multistep_1x

# For 2 images per iteration.
optimizer.lr = 0.005
# Norms, too: the paper names no exception.
optimizer.params.weight_decay_norm = optimizer.weight_decay

lr_multiplier = deepcopy(multistep_1x)
lr_multiplier.scheduler.milestones = [8, 11, 12]
# The paper mentions none.
lr_multiplier.warmup_length = 1 / 144
