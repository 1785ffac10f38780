"""FCOS, ResNet-50, full resolution, COCO, 12 epochs."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from ..common.data.coco import dataloader
from ..common.models.fcos import model as detector
from ..common.models.resnet import weights_r50
from ..common.optim import SGD as optimizer
from ..common.schedule import multistep_1x as lr_multiplier
from ..common.train import train

model = L(LowResDetector)(detector=detector, resampler=L(Identity)())
train.init_checkpoint = weights_r50
optimizer.lr = 0.01
