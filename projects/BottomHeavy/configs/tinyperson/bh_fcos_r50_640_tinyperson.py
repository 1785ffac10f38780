"""Tables 6 to 8, TinyPerson: Adap-FCOS, which is FCOS on P2 to P6, BH-ResNet50."""

from .....configs.common.models.fcos_bh_r50 import model as detector
from .bh_faster_rcnn_r50_640_tinyperson import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    tiles,
    train,
)

detector.backbone.bottom_up = model.detector.backbone.bottom_up
model.detector = detector

# As in TOV_mmdetection: two images on each of the paper's GPUs, and clipped gradients.
dataloader.train.total_batch_size = 4
train.clip_gradients.enabled = True
train.clip_gradients.params.limit = 35.0
# Also as there: biases at twice the rate, without decay.
optimizer.params.base_lr = "${..lr}"
optimizer.params.bias_lr_factor = 2.0
optimizer.params.weight_decay_bias = 0.0
# The same 12 epochs, three iterations for each tile.
train.max_iter = 18000
train.eval_period = 1500
