"""ResNet backbones as Detectron2's zoo has them: BGR pixels in 0..255, frozen batch norm."""

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import ResNet
from detectron2.modeling.backbone.resnet import BasicStem

# What the zoo's ImageNet weights (MSRA) were trained on.
pixels = dict(
    # Order of the channels.
    input_format="BGR",
    # Taken from each channel, 0..255; then divided by.
    pixel_mean=[103.53, 116.28, 123.675],
    pixel_std=[1.0, 1.0, 1.0],  # the deviation is in the first convolution's weights
)

resnet50 = L(ResNet)(
    # Maps that are given on: res2 to res5 have strides 4, 8, 16, 32.
    out_features=["res3", "res4", "res5"],
    # This many parts, the stem being the first, do not train.
    freeze_at=2,
    stem=L(BasicStem)(
        # Of the image.
        in_channels=3,
        # Of the stem's map.
        out_channels=64,
        # Statistics and affine part stay those of the weights.
        norm="FrozenBN",
    ),
    stages=L(ResNet.make_default_stages)(
        # Layers: 18, 34, 50, 101 or 152.
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
