"""RetinaNet, ResNet-18 from scratch, full resolution, COCO, 12 epochs."""

from ..common.models.resnet import stages_r18
from .full_retinanet_r50_800_coco_1x import dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone.bottom_up.stages = stages_r18
model.detector.backbone.top_block.in_channels = 512
# No pretrained weights: nothing is frozen, and batch norm has its own statistics.
model.detector.backbone.bottom_up.freeze_at = 0
model.detector.backbone.bottom_up.stem.norm = "SyncBN"
model.detector.backbone.bottom_up.stages.norm = "SyncBN"
train.init_checkpoint = ""
