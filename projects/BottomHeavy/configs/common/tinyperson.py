"""TinyPerson with the schedule of Sec. 4.2: SGD, 12 epochs, x 0.1 after the 8th and the 11th.

Batch, momentum, weight decay and warm-up are those of TOV_mmdetection, the paper's base, or ours.
"""

from copy import deepcopy

from .....configs.common.data.tinyperson import dataloader
from .....configs.common.optim import SGD as optimizer
from .....configs.common.schedule import multistep_1x
from .....configs.common.train import train

# As the backbones' weights.
dataloader.train.mapper.image_format = "RGB"

# For 2 images per iteration, one on each of the paper's GPUs.
optimizer.lr = 0.01

# In evaluation, as in TOV_mmdetection: images have up to 4064x6354 pixels. With a size of
# [8192, 8192] the detector sees them whole.
tiles = dict(size=[512, 640], overlap=100)

lr_multiplier = deepcopy(multistep_1x)
lr_multiplier.scheduler.milestones = [8, 11, 12]

# 12 epochs of 6,000 tiles with persons, six iterations each. How many epochs of your copy these
# are, the start-up report says: give max_iter, and an eval_period of a twelfth of it.
train.max_iter = 36000
train.eval_period = 3000
train.best.val_metric = "bbox/AP50-tiny"
