"""Faster R-CNN on ResNet-50's res4, with res5 as its box head, as in Detectron2's zoo."""

from detectron2.config import LazyCall as L
from detectron2.modeling import ResNet
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.modeling.roi_heads import Res5ROIHeads

from .rcnn_parts import model, pooler

model.backbone.out_features = ["res4"]

heads = model.roi_heads
heads._target_ = Res5ROIHeads
heads.in_features = ["res4"]
heads.pooler = pooler
# The backbone's last stage, applied to each pooled region.
heads.res5 = L(ResNet.make_stage)(
    # Convolutions of 1x1, 3x3 and 1x1; ResNet-18 has BasicBlock.
    block_class=BottleneckBlock,
    # Number of blocks.
    num_blocks=3,
    # Stride of each block.
    stride_per_block=[2, 1, 1],
    # Channels of res4.
    in_channels=1024,
    # Channels of the 3x3 convolutions.
    bottleneck_channels=512,
    # Output channels of each block.
    out_channels=2048,
    # As in the backbone's stages, like the stride below.
    norm="FrozenBN",
    stride_in_1x1=True,  # MSRA
)
heads.box_predictor.input_shape.channels = "${...res5.out_channels}"
