"""Components: bicubic thumbnails with the same distillation."""

from lowres_d2.modeling.resample import Bicubic

from detectron2.config import LazyCall as L

from ..coco.thumbdet4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler = L(Bicubic)(factor=4)
# It has no parameters to train.
del model.objectives[0]
del model.loss_weights.moments
train.stages = []
