"""Faster R-CNN on MobileNetV2's stage of stride 16, with the stage after it as its box head."""

from lowres_d2.modeling.backbone import MobileNetV2, MobileNetV2Stage

from detectron2.config import LazyCall as L

from .faster_rcnn_c4 import model

# RGB, unlike the ResNets: of torchvision's weights. Data sets' files say image_format="BGR".
model.input_format = "RGB"
model.pixel_mean = [123.675, 116.28, 103.53]
model.pixel_std = [58.395, 57.12, 57.375]
model.backbone = L(MobileNetV2)(
    # res2 to res5 have strides 4 to 32, and 24, 32, 96, 320 channels.
    out_features=["res4"],
    # Channels, relative to these.
    width_mult=1.0,
    # With statistics that stay, as the ResNets have it.
    norm="FrozenBN",
)
model.proposal_generator.head.in_channels = 96

heads = model.roi_heads
heads.res5 = L(MobileNetV2Stage)(
    # Of the backbone's, the first one that it does not have.
    stage="res5",
    # As the backbone's.
    width_mult=1.0,
    norm="FrozenBN",  # likewise
)
heads.box_predictor.input_shape.channels = 320

weights_mobilenet = (
    "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth?matching_heuristics=True"
)
