"""Faster R-CNN C4, ResNet-18 from scratch, full resolution, COCO, 12 epochs."""

from detectron2.config import LazyCall as L
from detectron2.modeling import ResNet
from detectron2.modeling.backbone.resnet import BasicBlock

from ..common.models.resnet import stages_r18
from .full_faster_rcnn_c4_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

detector = model.detector
detector.backbone.stages = stages_r18
detector.proposal_generator.head.in_channels = 256
detector.roi_heads.res5 = L(ResNet.make_stage)(
    block_class=BasicBlock,
    num_blocks=2,
    stride_per_block=[2, 1],
    in_channels=256,
    out_channels=512,
    norm="SyncBN",
)
# No pretrained weights: nothing is frozen, and batch norm has its own statistics.
detector.backbone.freeze_at = 0
detector.backbone.stem.norm = "SyncBN"
detector.backbone.stages.norm = "SyncBN"
train.init_checkpoint = ""
