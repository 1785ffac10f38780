"""Faster R-CNN on ResNet-50's res4, with res5 as its box head, as in Detectron2's zoo."""

from detectron2.config import LazyCall as L
from detectron2.modeling import GeneralizedRCNN, ResNet
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import Res5ROIHeads

from .rcnn_parts import predictor, proposal_matcher, rpn
from .resnet import pixel_mean, pixel_std, resnet50

resnet50.out_features = ["res4"]
predictor.input_shape.channels = "${...res5.out_channels}"

model = L(GeneralizedRCNN)(
    input_format="BGR",
    pixel_mean=pixel_mean,
    pixel_std=pixel_std,
    backbone=resnet50,
    proposal_generator=rpn,
    roi_heads=L(Res5ROIHeads)(
        num_classes=80,
        batch_size_per_image=512,
        positive_fraction=0.25,
        proposal_matcher=proposal_matcher,
        in_features=["res4"],
        pooler=L(ROIPooler)(
            pooler_type="ROIAlignV2", sampling_ratio=0, scales=[1 / 16], output_size=14
        ),
        res5=L(ResNet.make_stage)(
            block_class=BottleneckBlock,
            in_channels=1024,
            bottleneck_channels=512,
            out_channels=2048,
            num_blocks=3,
            stride_per_block=[2, 1, 1],
            stride_in_1x1=True,
            norm="FrozenBN",
        ),
        box_predictor=predictor,
    ),
)
