"""Backbones in addition to Detectron2's, and the atrous twin of any backbone."""

from lowres_d2.modeling.backbone.atrous_blocks import add_atrous_rule
from lowres_d2.modeling.backbone.atrous_twin import AtrousTwin
from lowres_d2.modeling.backbone.cifar import CifarAlexNet, CifarResNet18, CifarVGG16
from lowres_d2.modeling.backbone.hrfpn import HRFPN
from lowres_d2.modeling.backbone.hrnet import BottomHeavyHRNet, HRNet
from lowres_d2.modeling.backbone.last_level_p6 import LastLevelP6
from lowres_d2.modeling.backbone.moved_blocks import BottomHeavyStem, bottom_heavy
from lowres_d2.modeling.backbone.shortcut_resnet import (
    PReLUStem,
    ShortcutBlock,
    SmallShortcutResNet,
)
from lowres_d2.modeling.backbone.small import SmallResNet
from lowres_d2.modeling.backbone.timm_backbone import TimmBackbone
from lowres_d2.modeling.backbone.timm_mobilenet import MobileNetV1, MobileNetV1Stage
from lowres_d2.modeling.backbone.torchvision_mobilenet import MobileNetV2, MobileNetV2Stage

__all__ = [
    "HRFPN",
    "AtrousTwin",
    "BottomHeavyHRNet",
    "BottomHeavyStem",
    "CifarAlexNet",
    "CifarResNet18",
    "CifarVGG16",
    "HRNet",
    "LastLevelP6",
    "MobileNetV1",
    "MobileNetV1Stage",
    "MobileNetV2",
    "MobileNetV2Stage",
    "PReLUStem",
    "ShortcutBlock",
    "SmallResNet",
    "SmallShortcutResNet",
    "TimmBackbone",
    "add_atrous_rule",
    "bottom_heavy",
]
