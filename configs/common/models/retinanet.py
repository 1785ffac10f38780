"""RetinaNet (Lin et al. 2017), ResNet-50 FPN, as in Detectron2's zoo."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN, RetinaNet
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.fpn import LastLevelP6P7
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead

from .resnet import pixel_mean, pixel_std, resnet50

model = L(RetinaNet)(
    input_format="BGR",
    pixel_mean=pixel_mean,
    pixel_std=pixel_std,
    backbone=L(FPN)(
        bottom_up=resnet50,
        in_features=["res3", "res4", "res5"],
        out_channels=256,
        top_block=L(LastLevelP6P7)(
            in_channels=2048, out_channels="${..out_channels}", in_feature="res5"
        ),
    ),
    head=L(RetinaNetHead)(
        input_shape=[L(ShapeSpec)(channels="${....backbone.out_channels}")] * 5,
        conv_dims=[256] * 4,
        num_anchors=9,
        num_classes="${..num_classes}",
        prior_prob=0.01,
    ),
    # Three octave scales a level, three aspect ratios.
    anchor_generator=L(DefaultAnchorGenerator)(
        sizes=[[x, x * 2 ** (1 / 3), x * 2 ** (2 / 3)] for x in (32, 64, 128, 256, 512)],
        strides=[8, 16, 32, 64, 128],
        offset=0.0,
        aspect_ratios=[0.5, 1.0, 2.0],
    ),
    box2box_transform=L(Box2BoxTransform)(weights=[1.0] * 4),
    # IoU under 0.4 is background, over 0.5 an object, between counts for neither.
    anchor_matcher=L(Matcher)(
        labels=[0, -1, 1], thresholds=[0.4, 0.5], allow_low_quality_matches=True
    ),
    num_classes=80,
    head_in_features=["p3", "p4", "p5", "p6", "p7"],
    focal_loss_alpha=0.25,
    focal_loss_gamma=2.0,
)
