"""A small Faster R-CNN C4 for CPUs: proposals and boxes from one feature map of stride 8."""

from detectron2.config import LazyCall as L
from detectron2.modeling import ResNet
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, BottleneckBlock

from .faster_rcnn_c4 import model

model.backbone = L(ResNet)(
    stem=L(BasicStem)(in_channels=3, out_channels=16, norm="BN"),
    # res2 and res3, each built like the head's res5.
    stages=[
        L(ResNet.make_stage)(
            block_class=BottleneckBlock,
            num_blocks=2,
            stride_per_block=[1, 1],
            in_channels=16,
            bottleneck_channels=24,
            out_channels=48,
            norm="BN",
            stride_in_1x1=True,
        ),
        L(ResNet.make_stage)(
            block_class=BottleneckBlock,
            num_blocks=3,
            stride_per_block=[2, 1, 1],
            in_channels=48,
            bottleneck_channels=40,
            out_channels=64,
            norm="BN",
            stride_in_1x1=True,
        ),
    ],
    out_features=["res3"],
)

rpn = model.proposal_generator
rpn.in_features = ["res3"]
rpn.head.in_channels = 64
rpn.head.num_anchors = 4
rpn.anchor_generator.strides = [8]
rpn.anchor_generator.sizes = [[8, 16, 32, 64]]
rpn.anchor_generator.aspect_ratios = [1.0]
rpn.batch_size_per_image = 128
rpn.pre_nms_topk = [1000, 500]
rpn.post_nms_topk = [300, 150]

heads = model.roi_heads
heads.in_features = rpn.in_features
heads.pooler.scales = [1 / 8]
heads.pooler.output_size = 7
heads.pooler.sampling_ratio = 2
heads.res5.block_class = BasicBlock
heads.res5.num_blocks = 2
heads.res5.stride_per_block = [2, 1]
heads.res5.in_channels = 64
heads.res5.out_channels = 96
heads.res5.norm = "BN"
del heads.res5.bottleneck_channels, heads.res5.stride_in_1x1
heads.batch_size_per_image = 64
heads.box_predictor.test_score_thresh = 0.03

heads.num_classes = 8
# The same as in the small FCOS, RGB.
model.pixel_mean = [115.0, 115.0, 115.0]
model.pixel_std = [64.0, 64.0, 64.0]
