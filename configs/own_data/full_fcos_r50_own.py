"""FCOS R-50 from ImageNet weights on your data; a GPU is advised."""

from ..coco.full_fcos_r50_800_coco_1x import model, optimizer, train
from ..common.data.coco_format import data, dataloader, num_classes
from ..common.schedule import one_cycle as lr_multiplier

model.detector.num_classes = num_classes

# The weights expect BGR pixels.
dataloader.train.mapper.image_format = "BGR"
optimizer.lr = 0.005
train.max_iter = 5000
train.eval_period = 1000
train.checkpointer.period = 1000
