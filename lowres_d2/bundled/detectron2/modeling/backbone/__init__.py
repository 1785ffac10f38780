"""Backbones: ResNet and FPN; transformers and RegNet are left to upstream Detectron2."""

from detectron2._uncovered import uncovered
from detectron2.modeling.backbone.backbone import Backbone
from detectron2.modeling.backbone.build import BACKBONE_REGISTRY, build_backbone
from detectron2.modeling.backbone.fpn import FPN
from detectron2.modeling.backbone.resnet import (
    BasicStem,
    BottleneckBlock,
    ResNet,
    ResNetBlockBase,
    build_resnet_backbone,
    make_stage,
)

MViT = uncovered("MViT")
RegNet = uncovered("RegNet")
SimpleFeaturePyramid = uncovered("SimpleFeaturePyramid")
SwinTransformer = uncovered("SwinTransformer")
ViT = uncovered("ViT")
get_vit_lr_decay_rate = uncovered("get_vit_lr_decay_rate")

__all__ = [
    "BACKBONE_REGISTRY",
    "FPN",
    "Backbone",
    "BasicStem",
    "BottleneckBlock",
    "MViT",
    "RegNet",
    "ResNet",
    "ResNetBlockBase",
    "SimpleFeaturePyramid",
    "SwinTransformer",
    "ViT",
    "build_backbone",
    "build_resnet_backbone",
    "get_vit_lr_decay_rate",
    "make_stage",
]
