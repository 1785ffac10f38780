"""The backbone of the small detectors on CIFAR-10, as a start for them: train.init_checkpoint."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import SmallResNet
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from ..common.classification import lr_multiplier, optimizer, train
from ..common.data.cifar10 import dataloader
from ..common.models.resnet18_cifar import model as classifier

# At stride 1, for images of 32 pixels; the parameters are those of the detectors' at stride 2.
classifier.backbone = L(SmallResNet)(stem_stride=1)
classifier.feature = "res5"
# Those of the detectors, so that these see the pixels that the backbone was trained on.
classifier.pixel_mean = [115.0, 115.0, 115.0]
classifier.pixel_std = [64.0, 64.0, 64.0]

model = L(LowResDetector)(detector=classifier, resampler=L(Identity)())
