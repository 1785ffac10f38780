"""A 0.5 M-parameter FCOS for CPUs: strides 4 to 32, every object has a positive location."""

from lowres_d2.layers.norm import group_norm_8
from lowres_d2.modeling.backbone import SmallResNet
from lowres_d2.modeling.meta_arch import NearestPointFCOS

from detectron2.config import LazyCall as L

from .fcos import model

model._target_ = NearestPointFCOS

backbone = model.backbone
backbone.bottom_up = L(SmallResNet)()
backbone.in_features = ["res2", "res3", "res4", "res5"]
# A multiple of 8 for the head's group norm, and of 16 for CPUs, whose convolutions work on blocks
# of 16 channels: a step with 40 takes longer than one with 48, with 32 it takes 0.61 of it.
backbone.out_channels = 32
del backbone.top_block

head = model.head
model.head_in_features = ["p2", "p3", "p4", "p5"]
head.input_shape = head.input_shape[:4]
head.conv_dims = [32]
head.norm = group_norm_8
head.prior_prob = 0.02

model.num_classes = 8
# The generated data set is scored from low scores on; a demo takes a threshold of its own.
model.test_score_thresh = 0.03
model.test_nms_thresh = 0.5
# Boxes of a map that go into NMS.
model.test_topk_candidates = 400
# Detections of an image that are kept, of all maps together.
model.max_detections_per_image = 100
# RGB: of the generated images, and near those of photographs.
model.pixel_mean = [115.0, 115.0, 115.0]
model.pixel_std = [64.0, 64.0, 64.0]
