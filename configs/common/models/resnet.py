"""ResNet backbones as Detectron2's zoo has them: BGR pixels in 0..255, frozen batch norm."""

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import ResNet
from detectron2.modeling.backbone.resnet import BasicStem

# Mean and deviation of the zoo's ImageNet weights (MSRA): BGR, deviation 1.
pixel_mean = [103.53, 116.28, 123.675]
pixel_std = [1.0, 1.0, 1.0]

resnet50 = L(ResNet)(
    stem=L(BasicStem)(in_channels=3, out_channels=64, norm="FrozenBN"),
    stages=L(ResNet.make_default_stages)(depth=50, stride_in_1x1=True, norm="FrozenBN"),
    out_features=["res3", "res4", "res5"],
    # Stem and res2 do not train.
    freeze_at=2,
)

# In place of `stages`; basic blocks have no 1x1 convolution to put the stride in.
stages_r101 = L(ResNet.make_default_stages)(depth=101, stride_in_1x1=True, norm="FrozenBN")
stages_r18 = L(ResNet.make_default_stages)(depth=18, norm="FrozenBN")

weights_r50 = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
weights_r101 = "detectron2://ImageNetPretrained/MSRA/R-101.pkl"
