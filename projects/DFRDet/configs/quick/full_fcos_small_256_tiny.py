"""A small real-valued FCOS with a shortcut around each convolution, 256x256, tiny plates."""

from lowres_d2.modeling.backbone import SmallShortcutResNet

from detectron2.config import LazyCall as L

from .....configs.common.data.plates_tiny import dataloader as tiny
from .....configs.common.models.one_bit import one_bit
from .....configs.quick.full_fcos_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

dataloader.train.dataset = tiny.train.dataset
dataloader.test.dataset = tiny.test.dataset
dataloader.evaluator.size_ranges = tiny.evaluator.size_ranges

detector = model.detector
detector.backbone.bottom_up = L(SmallShortcutResNet)(
    # Channels of the image, as many as pixel_mean has.
    in_channels=3,
)
# Can be computed together with a 1-bit convolution, as group norm cannot.
detector.head.norm = "BN"
model.detector = one_bit
model.detector.detector = detector
model.detector.quantizer = "none"
model.detector.tower_shortcuts = True
