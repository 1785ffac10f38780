"""VDSR at 2x (Kim et al., CVPR 2016): 20 layers, SGD with large rates, clipped (Sec. 3.2).

The theta of the clipping is not said there: it is ours.
"""

from lowres_d2.modeling.super_resolution import VDSR

from detectron2.config import LazyCall as L
from fvcore.common.param_scheduler import MultiStepParamScheduler

from .....configs.common.optim import SGD as optimizer
from .super_resolution import model, train

model.detector.network = L(VDSR)(
    # Pixels along each side that are made of one.
    factor=2,
    # Channels of the hidden layers.
    width=64,
    # Number of convolutions.
    depth=20,
)
# Sec. 3.2: half the squared distance of an image. That is 16 * 16 * 3 / 2 times its mean.
model.loss_weights = {"detector/loss_content": 384.0}

optimizer.lr = 0.1
optimizer.weight_decay = 0.0001
# 64 images per iteration, 781 iterations an epoch: 80 epochs, x 0.1 after every 20.
train.max_iter = 62500
train.checkpointer.period = 6250
lr_multiplier = L(MultiStepParamScheduler)(
    # Multipliers, one after another.
    values=[1.0, 0.1, 0.01, 0.001],
    # Iteration at which each ends; the last means the end of the run, whatever max_iter is.
    milestones=[15625, 31250, 46875, 62500],
)
train.clip_gradients.enabled = True
train.clip_gradients.params.kind = "adjustable"
# theta
train.clip_gradients.params.limit = 0.0001
