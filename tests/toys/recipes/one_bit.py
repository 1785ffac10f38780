"""A small FCOS in 1 bit on the generated plates; for tests of programs."""

from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized

from detectron2.config import LazyCall as L

from ....configs.quick.full_fcos_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.backbone.bottom_up = L(SmallShortcutResNet)(in_channels=3)
model.detector = L(binarized)(detector=model.detector)
