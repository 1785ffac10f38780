"""ThumbDet, 4x, 110 epochs, the default of the authors' code: x 0.1 after 40 and after 80."""

from ..common.detr_50ep import ITERATIONS_PER_EPOCH
from .thumbdet4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

train.max_iter = 110 * ITERATIONS_PER_EPOCH
train.stages[0].iterations = 5 / 110
train.stages[1].schedule.values = [1.0, 0.1, 0.01]
train.stages[1].schedule.milestones = [35, 75, 105]
