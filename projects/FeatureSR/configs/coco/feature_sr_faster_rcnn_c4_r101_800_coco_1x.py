"""FeatureSR on Faster R-CNN C4, ResNet-101: proposals under 96 x 96 px, COCO, 12 epochs."""

from .....configs.common.models.resnet import stages_r101
from .feature_sr_faster_rcnn_c4_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

# res2 to res4; res5 is the box head.
model.detector.backbone.stages = stages_r101
train.init_checkpoint = "output/full_faster_rcnn_c4_r101_800_coco_1x/model_final.pth"
