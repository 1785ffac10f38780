"""FCOS (Tian et al. 2019) with centre sampling, ResNet-50 FPN, as Detectron2 has it."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import FCOS, FPN
from detectron2.modeling.backbone.fpn import LastLevelP6P7
from detectron2.modeling.meta_arch.fcos import FCOSHead

from .resnet import pixel_mean, pixel_std, resnet50

model = L(FCOS)(
    backbone=L(FPN)(
        bottom_up=resnet50,
        in_features=["res3", "res4", "res5"],
        out_channels=256,
        top_block=L(LastLevelP6P7)(
            in_channels=256, out_channels="${..out_channels}", in_feature="p5"
        ),
    ),
    head=L(FCOSHead)(
        input_shape=[L(ShapeSpec)(channels="${....backbone.out_channels}")] * 5,
        num_classes="${..num_classes}",
        conv_dims=[256, 256, 256, 256],
        prior_prob=0.01,
        norm="GN",
    ),
    num_classes=80,
    head_in_features=["p3", "p4", "p5", "p6", "p7"],
    test_score_thresh=0.2,
    test_nms_thresh=0.6,
    pixel_mean=pixel_mean,
    pixel_std=pixel_std,
)
