"""The base detector trained further, for as long as the others, everything trainable."""

from .base_faster_rcnn_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

train.init_checkpoint = "output/base_faster_rcnn_small_256_plates/model_final.pth"
train.max_iter = 1750
train.eval_period = 0
