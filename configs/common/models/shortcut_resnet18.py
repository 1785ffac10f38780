"""ResNet-18 with a shortcut around each convolution and PReLU, as a classifier of photographs."""

from lowres_d2.modeling.backbone import PReLUStem, ShortcutBlock
from lowres_d2.modeling.meta_arch import ImageClassifier

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import ResNet

resnet18 = L(ResNet)(
    # The feature map that is classified; detectors take res2 to res5.
    out_features=["res5"],
    stem=L(PReLUStem)(
        # Channels of the photographs.
        in_channels=3,
        # Channels of the 7x7 convolution.
        out_channels=64,
        # Norm of its output.
        norm="BN",
    ),
    stages=L(ResNet.make_default_stages)(
        # Number of layers: 18 or 34.
        depth=18,
        block_class=ShortcutBlock,
        norm="BN",  # as in the stem
    ),
)

model = L(ImageClassifier)(
    backbone=resnet18,
    # Number of classes: ImageNet's.
    num_classes=1000,
    # RGB, ImageNet's.
    pixel_mean=[123.675, 116.28, 103.53],
    pixel_std=[58.395, 57.12, 57.375],
)
