"""A narrow VGG-16 on generated plates at full resolution, 32x32: the teacher."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from .....configs.common.models.vgg16_cifar import model as classifier
from .full_resnet18_small_32_plates import dataloader, lr_multiplier, optimizer, train

classifier.backbone.width = 8
classifier.hidden = [64, 64]
classifier.num_classes = 8
model = L(LowResDetector)(detector=classifier, resampler=L(Identity)())
