"""ResNet-18 on CIFAR-10 at full resolution, 32x32: 100 epochs."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from ..common.classification import lr_multiplier, optimizer, train
from ..common.data.cifar10 import dataloader
from ..common.models.resnet18_cifar import model as classifier

model = L(LowResDetector)(detector=classifier, resampler=L(Identity)())
