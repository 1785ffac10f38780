"""A narrow ResNet-18 on CIFAR-10 at full resolution; for tests of whole runs of a classifier."""

from ....configs.classification.full_resnet18_32_cifar10 import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.backbone.width = 4

dataloader.train.total_batch_size = 20
train.max_iter = 6
train.eval_period = 3
train.log_period = 2
train.checkpointer.period = 3
