"""Table 5, ImageNet32: BH-ResNet50, with the learning rate and weight decay of ImageNet."""

from .....configs.common.data.imagenet32 import dataloader
from .bh_resnet50_32_cifar100 import lr_multiplier, model, optimizer, train

model.detector.num_classes = 1000

dataloader.train.total_batch_size = 256
optimizer.lr = 0.1
optimizer.weight_decay = 0.0001
# 1,281,167 images, 256 per iteration: 40 epochs, as in Chrabaszcz et al. (2017).
train.max_iter = 200183
train.eval_period = 20019
train.checkpointer.period = 5005
