"""Instead of a 4x thumbnail: a smaller detector at full resolution, as few MACs, from scratch."""

from lowres_d2.modeling.backbone import SmallResNet

from detectron2.config import LazyCall as L

from .teacher_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

backbone = model.detector.backbone
# Two convolutions of stride 2, then maps at strides 8 to 32.
backbone.bottom_up = L(SmallResNet)(
    stem_stride=4,
    stem_middle=6,
    channels=[12, 16, 32, 48],
    depths=[1, 1, 1],
    out_features=["res2", "res3", "res4"],
)
backbone.in_features = ["res2", "res3", "res4"]
backbone.out_channels = 16
model.detector.head_in_features = ["p3", "p4", "p5"]
model.detector.head.input_shape = model.detector.head.input_shape[:3]
model.detector.head.conv_dims = [16]
# As many as the teacher's and a student's 2,000 together.
train.max_iter = 4000
train.eval_period = 0
