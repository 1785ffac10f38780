"""The small FCOS on generated plates at full resolution, 256x256; minutes on a CPU."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from ..common.data.plates import dataloader
from ..common.models.fcos_small import model as detector
from ..common.optim import AdamW as optimizer
from ..common.schedule import one_cycle as lr_multiplier
from ..common.train import train

model = L(LowResDetector)(detector=detector, resampler=L(Identity)())

dataloader.train.total_batch_size = 8
optimizer.lr = 2e-3
optimizer.weight_decay = 0.01
# 2000 images, 8 per iteration: 250 iterations are an epoch, 1500 are six. Ten epochs reach slightly
# more AP; after four, students learn little from the teacher (30 AP instead of 47).
train.max_iter = 1500
train.eval_period = 750
train.checkpointer.period = 250
train.channels_last = True
train.clip_gradients.enabled = True
train.clip_gradients.params.limit = 10.0
