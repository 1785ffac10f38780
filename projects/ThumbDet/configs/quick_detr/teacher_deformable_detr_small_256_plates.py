"""The teacher: a small Deformable DETR on generated plates at full resolution, 256x256."""

from .....configs.common.models.deformable_detr_small import model as detector
from .....configs.quick.full_fcos_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

detector.with_box_refine = True
# At most 8 objects on an image.
detector.num_queries = 30
# So short a run does not overfit.
detector.dropout = 0.0
model.detector = detector

optimizer.lr = 1e-3
train.max_iter = 4000
train.eval_period = 2000
# Deformable DETR's own limit.
train.clip_gradients.params.limit = 0.1
