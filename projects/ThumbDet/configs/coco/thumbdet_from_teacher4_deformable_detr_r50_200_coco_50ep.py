"""ThumbDet, 4x, our start: the detector as its teacher, the downsampler as a box filter."""

from .thumbdet4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.init = "box"
train.student_from_teacher = True
train.init_checkpoint = ""
