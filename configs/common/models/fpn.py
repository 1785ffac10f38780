"""A feature pyramid (Lin et al. 2017) on ResNet-50: P3 to P7, strides 8 to 128."""

from detectron2.config import LazyCall as L
from detectron2.modeling import FPN
from detectron2.modeling.backbone.fpn import LastLevelP6P7

from .resnet import resnet50

pyramid = L(FPN)(
    bottom_up=resnet50,
    # Feature maps that the pyramid is built on, finest first.
    in_features="${.bottom_up.out_features}",
    # Channels of each level.
    out_channels=256,
    # P6 and P7, by convolutions of stride 2.
    top_block=L(LastLevelP6P7)(
        # Feature map that P6 is computed from.
        in_feature="p5",
        # Channels of that feature map.
        in_channels=256,
        # Channels of P6 and P7.
        out_channels="${..out_channels}",
    ),
)
