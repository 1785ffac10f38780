"""ResNet-18 with a shortcut around each convolution, real-valued: where the 1-bit one starts."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from ..common.classification import lr_multiplier, optimizer, train
from ..common.data.class_folder_files import data, dataloader
from ..common.models.one_bit import one_bit
from ..common.models.shortcut_resnet18 import model as classifier

one_bit.detector = classifier
one_bit.quantizer = "none"
model = L(LowResDetector)(detector=one_bit, resampler=L(Identity)())

# Of ResNet-18 on ImageNet, for 256 images per iteration.
optimizer.lr = 0.1
optimizer.weight_decay = 0.0001
# 1,281,167 images, 256 per iteration: 90 epochs.
train.max_iter = 450410
train.eval_period = 50045
train.checkpointer.period = 5005
