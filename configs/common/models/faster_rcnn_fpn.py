"""Faster R-CNN (Ren et al. 2015) with FPN (Lin et al. 2017), ResNet-50, as in Detectron2's zoo."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN, GeneralizedRCNN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, StandardROIHeads

from .rcnn_parts import predictor, proposal_matcher, rpn
from .resnet import pixel_mean, pixel_std, resnet50

resnet50.out_features = ["res2", "res3", "res4", "res5"]

rpn.in_features = ["p2", "p3", "p4", "p5", "p6"]
rpn.head.in_channels = 256
rpn.head.num_anchors = 3
rpn.anchor_generator.sizes = [[32], [64], [128], [256], [512]]
rpn.anchor_generator.strides = [4, 8, 16, 32, 64]
rpn.pre_nms_topk = [2000, 1000]
rpn.post_nms_topk = [1000, 1000]

box_head = L(FastRCNNConvFCHead)(
    conv_dims=[],
    fc_dims=[1024, 1024],
    input_shape=L(ShapeSpec)(channels=256, height=7, width=7),
)

model = L(GeneralizedRCNN)(
    input_format="BGR",
    pixel_mean=pixel_mean,
    pixel_std=pixel_std,
    backbone=L(FPN)(
        bottom_up=resnet50,
        in_features="${.bottom_up.out_features}",
        out_channels=256,
        top_block=L(LastLevelMaxPool)(),
    ),
    proposal_generator=rpn,
    roi_heads=L(StandardROIHeads)(
        num_classes=80,
        batch_size_per_image=512,
        positive_fraction=0.25,
        proposal_matcher=proposal_matcher,
        box_in_features=["p2", "p3", "p4", "p5"],
        box_pooler=L(ROIPooler)(
            pooler_type="ROIAlignV2",
            sampling_ratio=0,
            scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32],
            output_size=7,
        ),
        box_head=box_head,
        box_predictor=predictor,
    ),
)
