"""Faster R-CNN on MobileNet's (version 1) stage of stride 16, with the next as its box head."""

from lowres_d2.modeling.backbone import MobileNetV1, MobileNetV1Stage

from detectron2.config import LazyCall as L

from .faster_rcnn_c4 import model

# timm's weights expect RGB, unlike the ResNets': set the data's image_format to it, too.
model.input_format = "RGB"
model.pixel_mean = [127.5, 127.5, 127.5]
model.pixel_std = [127.5, 127.5, 127.5]
model.backbone = L(MobileNetV1)(
    # res2 to res5 have strides 4 to 32, and 128, 256, 512, 1024 channels.
    out_features=["res4"],
    norm="FrozenBN",  # frozen statistics, as in MobileNetV2
)
model.proposal_generator.head.in_channels = 512

heads = model.roi_heads
heads.res5 = L(MobileNetV1Stage)(
    stage="res5",  # the one after the backbone
    norm="FrozenBN",  # the same as in the backbone
)
heads.box_predictor.input_shape.channels = 1024

weights_mobilenetv1 = (
    "https://huggingface.co/timm/mobilenetv1_100.ra4_e3600_r224_in1k/resolve/main/"
    "model.safetensors?matching_heuristics=True"
)
