"""Tables 6 and 7, TinyPerson: Faster R-CNN with HRFPN, HRNet18."""

from .....configs.common.models.bottom_heavy import hrfpn, hrnet18, weights_hrnet18
from .bh_faster_rcnn_r50_640_tinyperson import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    tiles,
    train,
)

hrfpn.bottom_up = hrnet18
# As in TOV_mmdetection's networks: statistics of batch norm stay those of the pre-training.
hrfpn.bottom_up.norm = "FrozenBN"
model.detector.backbone = hrfpn
train.init_checkpoint = weights_hrnet18
