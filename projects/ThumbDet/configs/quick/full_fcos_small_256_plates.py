"""The teacher trained further, as long as a student: full resolution at equal total iterations."""

from .teacher_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

train.init_checkpoint = "output/teacher_fcos_small_256_plates/model_final.pth"
# 8 epochs: thumbnails are cheap to train on, and need them.
train.max_iter = 2000
train.eval_period = 0
