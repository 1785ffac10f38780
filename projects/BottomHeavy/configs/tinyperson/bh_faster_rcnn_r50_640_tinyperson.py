"""Tables 6 to 8, TinyPerson: Faster R-CNN with FPN, BH-ResNet50."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from .....configs.common.models.faster_rcnn_bh_r50 import model as detector
from ..common.tinyperson import dataloader, lr_multiplier, optimizer, tiles, train

model = L(LowResDetector)(detector=detector, resampler=L(Identity)())
# As in TOV_mmdetection: a batch of two says little about statistics, and stem and res2 stay.
resnet50 = model.detector.backbone.bottom_up.backbone
resnet50.stem.norm = "FrozenBN"
resnet50.freeze_at = 2

train.init_checkpoint = "output/bh_resnet50_224_imagenet/model_best.pth"
