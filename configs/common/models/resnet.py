"""ResNet backbones as Detectron2's zoo has them: BGR pixels in 0..255, frozen batch norm."""

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import ResNet
from detectron2.modeling.backbone.resnet import BasicStem

# What the zoo's ImageNet weights (MSRA) were trained with.
pixels = dict(
    # Channel order.
    input_format="BGR",
    # Mean of each channel, 0..255; standard deviation.
    pixel_mean=[103.53, 116.28, 123.675],
    pixel_std=[1.0, 1.0, 1.0],  # part of the first convolution's weights
)

resnet50 = L(ResNet)(
    # Output feature maps: res2 to res5 have strides 4, 8, 16, 32.
    out_features=["res3", "res4", "res5"],
    # Number of frozen parts, the stem being the first.
    freeze_at=2,
    stem=L(BasicStem)(
        # Channels of the image.
        in_channels=3,
        # Channels of the stem's output.
        out_channels=64,
        # Frozen: statistics and affine part are those of the weights.
        norm="FrozenBN",
    ),
    stages=L(ResNet.make_default_stages)(
        # Number of layers: 18, 34, 50, 101 or 152.
        depth=50,
        norm="FrozenBN",  # as in the stem
        # Whether a block's stride is in its first convolution (MSRA) or in its 3x3 one.
        stride_in_1x1=True,
    ),
)

# In place of `stages`; basic blocks have no 1x1 convolution to put the stride in.
stages_r101 = L(ResNet.make_default_stages)(depth=101, stride_in_1x1=True, norm="FrozenBN")
stages_r18 = L(ResNet.make_default_stages)(depth=18, norm="FrozenBN")

weights_r50 = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
weights_r101 = "detectron2://ImageNetPretrained/MSRA/R-101.pkl"
