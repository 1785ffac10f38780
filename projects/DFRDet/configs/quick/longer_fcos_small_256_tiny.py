"""The real-valued FCOS trained further, for as many iterations as a 1-bit one."""

from .full_fcos_small_256_tiny import dataloader, lr_multiplier, model, optimizer, train

train.init_checkpoint = "output/full_fcos_small_256_tiny/model_final.pth"
train.max_iter = 1000
