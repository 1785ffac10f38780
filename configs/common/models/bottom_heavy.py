"""BottomHeavy's backbones and their standard twins (Ning et al. 2023, Table 4), and two pyramids.

All give ``res2`` to ``res5`` at strides 4 to 32. A recipe sets ``model.backbone.bottom_up`` of a
detector to a ResNet, or ``model.backbone`` to ``hrfpn`` and that one's ``bottom_up`` to an HRNet.
"""

from lowres_d2.modeling.backbone import (
    HRFPN,
    BottomHeavyHRNet,
    HRNet,
    SmallResNet,
    bottom_heavy,
)

from detectron2.config import LazyCall as L

from .fpn_r18_p2_p6 import pixel_mean, pixel_std, pyramid
from .resnet import resnet50

stages = ["res2", "res3", "res4", "res5"]

resnet50.out_features = stages
resnet50.freeze_at = 0
# Fine-tuning as in the paper's base (TOV_mmdetection): FrozenBN, and freeze_at=2.
resnet50.stem.norm = "BN"
resnet50.stages.norm = "${..stem.norm}"
# Of both twins in the 3x3 convolutions, as the table has it and torchvision's weights.
resnet50.stages.stride_in_1x1 = False

bh_resnet50 = L(bottom_heavy)(
    # The standard twin.
    backbone=resnet50,
    # Number of blocks of each stage; None: searched, so that MACs stay.
    blocks=[7, 6, 2, 1],
)

hrnet18 = L(HRNet)(
    # Channels of the finest branch.
    width=18,
    # FrozenBN for fine-tuning.
    norm="BN",
)
hrnet32 = L(HRNet)(width=32, norm="BN")
bh_hrnet18 = L(BottomHeavyHRNet)(
    width=18,  # likewise
    # Whether the max pooling is in the stem, as Table 4 prints it; False meets its costs.
    as_printed=False,
    norm="BN",  # likewise
)
bh_hrnet32 = L(BottomHeavyHRNet)(width=32, as_printed=False, norm="BN")

# Twins for CPUs: 1.14 M and 0.53 M parameters, 1.87 G and 1.84 G MACs on 640x512.
small = L(SmallResNet)(
    in_channels=3,
    # Blocks of each stage, in proportions like ResNet-50's.
    depths=[2, 2, 3, 2],
)
bh_small = L(bottom_heavy)(backbone=small, blocks=[3, 2, 1, 1])

# ImageNet weights of the standard twins; of the bottom-heavy ones there are none in public.
weights_r50 = "detectron2://ImageNetPretrained/torchvision/R-50.pkl"
_timm = "https://huggingface.co/timm/{}/resolve/main/model.safetensors?matching_heuristics=True"
weights_hrnet18 = _timm.format("hrnet_w18.ms_aug_in1k")
weights_hrnet32 = _timm.format("hrnet_w32.ms_in1k")

pyramid.bottom_up = bh_resnet50
pyramid.in_features = stages

hrfpn = L(HRFPN)(
    bottom_up=bh_hrnet32,
    # Branches that are joined.
    in_features=stages,
    out_channels=256,  # of every level
    # P2 to P6, all pooled from P2.
    num_levels=5,
)
