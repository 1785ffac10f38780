"""The teacher trained further, as long as a student: full resolution at equal total iterations."""

from .teacher_deformable_detr_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

train.init_checkpoint = "output/teacher_deformable_detr_small_256_plates/model_final.pth"
train.max_iter = 1000
train.eval_period = 0
