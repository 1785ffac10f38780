"""DFD on the small FCOS, images degraded 4x."""

from ..common.detection import features_fpn, loss_weights
from ..common.method import teacher
from .lowres4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.teacher = teacher
model.teacher.checkpoint = "${train.init_checkpoint}"
model.objectives = [features_fpn]
model.loss_weights = loss_weights
