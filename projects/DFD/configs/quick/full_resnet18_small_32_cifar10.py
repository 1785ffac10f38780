"""A narrow ResNet-18 at full resolution, 32x32: the teacher."""

from .....configs.common.classification import lr_multiplier, optimizer, train
from .....configs.common.data.cifar10 import dataloader
from .....configs.common.models.resnet18_cifar import model as classifier
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

classifier.backbone.width = 8
model = L(LowResDetector)(detector=classifier, resampler=L(Identity)())
train.max_iter = 940
train.eval_period = 0
train.channels_last = True
train.amp.enabled = True
