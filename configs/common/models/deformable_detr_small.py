"""A Deformable DETR of 0.7 M parameters: for tests and for short runs on a CPU."""

from lowres_d2.layers.norm import group_norm_8
from lowres_d2.modeling.backbone import SmallResNet

from detectron2.config import LazyCall as L

from .deformable_detr import model

# Output feature maps of the backbone, finest first.
model.backbone = L(SmallResNet)(in_channels=3, out_features=["res3", "res4", "res5"])
model.channels = 64
model.num_heads = 4
model.feedforward = 128
model.encoder_layers = 2
model.decoder_layers = 2
model.num_queries = 60
model.norm = group_norm_8
model.num_classes = 8
model.pixel_mean = [115.0, 115.0, 115.0]
model.pixel_std = [64.0, 64.0, 64.0]
