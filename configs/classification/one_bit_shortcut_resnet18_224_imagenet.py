"""The 1-bit ResNet-18 on ImageNet: initial weights of DFR-Det's detectors (train.init_checkpoint).

It starts from the real-valued one. The paper says that its backbone is pre-trained on ImageNet; how
is ours, after ReActNet (Liu et al. 2020): Adam, 5e-4, no weight decay, a rate that falls linearly.
"""

from detectron2.config import LazyCall as L
from fvcore.common.param_scheduler import LinearParamScheduler

from ..common.optim import AdamW as optimizer
from .full_shortcut_resnet18_224_imagenet import data, dataloader, lr_multiplier, model, train

model.detector.quantizer = "sign"

optimizer.lr = 0.0005
# Without decay, AdamW is Adam.
optimizer.weight_decay = 0.0

lr_multiplier.scheduler = L(LinearParamScheduler)(
    # Multipliers at the start, as if without warm-up, and at the end.
    start_value=1.0,
    end_value=0.0,
)

train.init_checkpoint = "output/full_shortcut_resnet18_224_imagenet/model_best.pth"
# 100 epochs.
train.max_iter = 500456
