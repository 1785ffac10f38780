"""Tables 6 and 7, TinyPerson: Faster R-CNN with HRFPN, BH-HRNet32."""

from .....configs.common.models.bottom_heavy import bh_hrnet32, hrfpn
from .bh_faster_rcnn_r50_640_tinyperson import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    tiles,
    train,
)

hrfpn.bottom_up = bh_hrnet32
# As in TOV_mmdetection's networks: statistics of batch norm stay those of the pre-training.
hrfpn.bottom_up.norm = "FrozenBN"
model.detector.backbone = hrfpn
train.init_checkpoint = "output/bh_hrnet32_224_imagenet/model_best.pth"
