"""Deformable DETR, ResNet-50, full resolution, COCO, 50 epochs: the teacher."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from .....configs.common.data.coco_detr import dataloader
from .....configs.common.models.deformable_detr import model as detector
from .....configs.common.models.deformable_detr import weights_r50
from .....configs.common.optim_detr import AdamW as optimizer
from .....configs.common.train import train
from ..common.detr_50ep import ITERATIONS_PER_EPOCH, lr_multiplier

model = L(LowResDetector)(detector=detector, resampler=L(Identity)())

train.init_checkpoint = weights_r50
train.max_iter = 50 * ITERATIONS_PER_EPOCH
train.eval_period = 5 * ITERATIONS_PER_EPOCH
train.clip_gradients.enabled = True
train.clip_gradients.params.limit = 0.1
