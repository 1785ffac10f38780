"""A 0.5 M-parameter FCOS for CPUs: strides 4 to 32, every object has a positive location."""

from lowres_d2.layers.norm import group_norm_8
from lowres_d2.modeling.backbone import SmallResNet
from lowres_d2.modeling.meta_arch import NearestPointFCOS

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN
from detectron2.modeling.meta_arch.fcos import FCOSHead

model = L(NearestPointFCOS)(
    backbone=L(FPN)(
        bottom_up=L(SmallResNet)(),
        in_features=["res2", "res3", "res4", "res5"],
        # A multiple of 8: the head's group norm has 8 groups.
        out_channels=40,
    ),
    head=L(FCOSHead)(
        input_shape=[L(ShapeSpec)(channels="${....backbone.out_channels}")] * 4,
        num_classes="${..num_classes}",
        # Classification and regression towers of one convolution each.
        conv_dims=[40],
        prior_prob=0.02,
        norm=group_norm_8,
    ),
    num_classes=8,
    head_in_features=["p2", "p3", "p4", "p5"],
    # The generated data set is scored from low scores on; a demo takes a threshold of its own.
    test_score_thresh=0.03,
    test_topk_candidates=400,
    test_nms_thresh=0.5,
    max_detections_per_image=100,
    # RGB, 0..255.
    pixel_mean=[115.0, 115.0, 115.0],
    pixel_std=[64.0, 64.0, 64.0],
)
