"""Beyond the paper: a 1-bit FCOS with foreground refinement on ThumbDet's thumbnails, 64x64."""

from copy import deepcopy

from lowres_d2.modeling.backbone import SmallShortcutResNet

from detectron2.config import LazyCall as L

from .....configs.common.models.one_bit import one_bit
from ....ThumbDet.configs.quick.thumbdet4_fcos_small_64_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.method import loss_weights, refinement, weight_reconstruction

# ThumbDet's, real-valued.
model.teacher.model = deepcopy(model.detector)

model.detector.backbone.bottom_up = L(SmallShortcutResNet)()
model.detector.head.norm = "BN"
one_bit.detector = model.detector
one_bit.tower_shortcuts = True
model.detector = one_bit

refinement.decoder.channels = 32
refinement.decoder.width = 16
model.objectives += [weight_reconstruction, refinement]
model.loss_weights = {**model.loss_weights, **loss_weights}
train.stages[-1].losses = ["detector", "binary", "foreground"]
# Another network than the teacher: random weights.
train.student_from_teacher = False
