"""What FCOS and RetinaNet share: a feature pyramid, and a head of two towers on each level."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec

from .fpn import pyramid
from .resnet import pixels

model = dict(
    **pixels,
    backbone=pyramid,
    # Levels that the head works on.
    head_in_features=["p3", "p4", "p5", "p6", "p7"],
    # Contiguous labels 0 .. num_classes - 1.
    num_classes=80,
    head=dict(
        # One for each of these levels.
        input_shape=[L(ShapeSpec)(channels="${....backbone.out_channels}")] * 5,
        # The same as in the detector.
        num_classes="${..num_classes}",
        # Channels of the convolutions in the classification and in the regression tower.
        conv_dims=[256, 256, 256, 256],
        # Initial score of every class: Lin et al. 2017, focal loss.
        prior_prob=0.01,
    ),
)
