"""ResNet-18 and a feature pyramid for tiny objects, P2 to P6: strides 4 to 64."""

from lowres_d2.modeling.backbone import LastLevelP6

from detectron2.config import LazyCall as L

from .fpn import pyramid
from .resnet import stages_r18

resnet18 = pyramid.bottom_up
resnet18.out_features = ["res2", "res3", "res4", "res5"]
resnet18.stages = stages_r18
# Batch norm with statistics of its own, of each GPU.
resnet18.stem.norm = "BN"
resnet18.stages.norm = "BN"
# All parts are trained.
resnet18.freeze_at = 0

pyramid.top_block = L(LastLevelP6)(
    # Feature map that P6 is computed from: p5, or res5 of the backbone.
    in_feature="p5",
    # Channels of P5, or of res5.
    in_channels="${..out_channels}",
    # Channels of P6.
    out_channels="${..out_channels}",
)

# RGB, as torchvision's and timm's ImageNet weights expect it.
pixel_mean = [123.675, 116.28, 103.53]
pixel_std = [58.395, 57.12, 57.375]
