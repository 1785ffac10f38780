"""ThumbDet, 4x: learned thumbnails, distilled from Deformable DETR at full resolution (Table 3)."""

from ..common.method import features, loss_weights, query_logits, teacher
from .learned4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.teacher = teacher
model.teacher.checkpoint = "output/full_deformable_detr_r50_800_coco_50ep/model_final.pth"
model.objectives += [features, query_logits]
model.loss_weights = loss_weights
