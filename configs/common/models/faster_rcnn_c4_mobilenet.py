"""Faster R-CNN on MobileNetV2's stage of stride 16, with the next stage as its box head."""

from lowres_d2.modeling.backbone import MobileNetV2, MobileNetV2Stage

from detectron2.config import LazyCall as L

from .faster_rcnn_c4 import model

# torchvision's weights expect RGB, unlike the ResNets': set the data's image_format to it, too.
model.input_format = "RGB"
model.pixel_mean = [123.675, 116.28, 103.53]
model.pixel_std = [58.395, 57.12, 57.375]
model.backbone = L(MobileNetV2)(
    # res2 to res5 have strides 4 to 32, and 24, 32, 96, 320 channels.
    out_features=["res4"],
    # Factor on these numbers of channels.
    width_mult=1.0,
    # Frozen statistics, as in the ResNets.
    norm="FrozenBN",
)
model.proposal_generator.head.in_channels = 96

heads = model.roi_heads
heads.res5 = L(MobileNetV2Stage)(
    # The first stage that the backbone above leaves out.
    stage="res5",
    # The same as in the backbone.
    width_mult=1.0,
    norm="FrozenBN",  # likewise
)
heads.box_predictor.input_shape.channels = 320

weights_mobilenet = (
    "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth?matching_heuristics=True"
)
