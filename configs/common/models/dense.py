"""What FCOS and RetinaNet share: a pyramid, two towers on each of its maps, numbers of classes."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec

from .fpn import pyramid
from .resnet import pixels

model = dict(
    **pixels,
    backbone=pyramid,
    # Maps that the head works on.
    head_in_features=["p3", "p4", "p5", "p6", "p7"],
    # Contiguous labels 0 .. num_classes - 1.
    num_classes=80,
    head=dict(
        # One for each of these maps.
        input_shape=[L(ShapeSpec)(channels="${....backbone.out_channels}")] * 5,
        # As the detector's.
        num_classes="${..num_classes}",
        # Channels of the convolutions in the classification and in the regression tower.
        conv_dims=[256, 256, 256, 256],
        # Score of every class at the first step: Lin et al. 2017, focal loss.
        prior_prob=0.01,
    ),
)
