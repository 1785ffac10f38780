"""Optimizer, schedule and run of a classifier: 100 epochs of CIFAR in batches of 128.

DFD (Zhu et al. 2019, Sec. 3.2) says SGD, momentum 0.9, weight decay 5e-4, batches of 128 and 100
epochs; it does not say the learning rate or its schedule: both are ours.
"""

from .optim import SGD as optimizer
from .schedule import one_cycle as lr_multiplier
from .train import train

optimizer.lr = 0.05
optimizer.weight_decay = 0.0005
# Of all parameters, as PyTorch's SGD has it.
optimizer.params.weight_decay_norm = "${..weight_decay}"

# Warm-up over 5 epochs, then half a cosine.
lr_multiplier.warmup_length = 0.05
lr_multiplier.scheduler.end_value = 0.001

# 50,000 images, 128 per iteration: 39,063 iterations are 100 epochs.
train.max_iter = 39063
train.log_period = 100
# At the end only: CIFAR has no validation images, and none of its test images may choose weights.
train.eval_period = 0
# Ten epochs.
train.checkpointer.period = 3907
train.best.val_metric = "classification/top1"
# A teacher of ten classes at 10 % has not been trained.
train.teacher_check.images = 500
train.teacher_check.min_ap = 15.0
