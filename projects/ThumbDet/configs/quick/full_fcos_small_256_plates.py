"""The teacher trained further, as long as a student: full resolution at equal total iterations."""

from .teacher_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

train.init_checkpoint = "output/teacher_fcos_small_256_plates/model_final.pth"
train.eval_period = 0
