"""Table 2, AI-TOD: FCOS, ResNet-18, real-valued."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from .....configs.common.data.aitod import dataloader
from .....configs.common.models.fcos_r18_p2_p6 import model as detector
from .....configs.common.train import train
from ..common.sgd_12ep import lr_multiplier, optimizer

model = L(LowResDetector)(detector=detector, resampler=L(Identity)())

train.init_checkpoint = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
# 14,018 images, 2 per iteration: 12 epochs.
train.max_iter = 84108
train.eval_period = 7009
