"""A narrow ResNet-18 on generated plates at full resolution, 32x32: the teacher."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from .....configs.common.classification import lr_multiplier, optimizer, train
from .....configs.common.data.plates_classification import dataloader
from .....configs.common.models.resnet18_cifar import model as classifier

classifier.backbone.width = 8
classifier.num_classes = 8
model = L(LowResDetector)(detector=classifier, resampler=L(Identity)())

dataloader.train.dataset.num_images = 10000
# 10,000 images, 128 per iteration: 20 epochs.
train.max_iter = 1563
train.log_period = 50
train.checkpointer.period = 250
train.channels_last = True
train.amp.enabled = True
