"""FCOS R-50 from ImageNet weights on your COCO-format data; a GPU is advised."""

from lowres_d2.data.datasets import count_classes

from detectron2.config import LazyCall as L

from ..coco.full_fcos_r50_800_coco_1x import model, optimizer, train
from ..common.data.coco_format import data, dataloader
from ..common.schedule import one_cycle as lr_multiplier

model.detector.num_classes = L(count_classes)(
    json_file="${data.train_json}", classes="${data.classes}"
)

# The weights expect BGR pixels.
dataloader.train.mapper.image_format = "BGR"
optimizer.lr = 0.005
train.max_iter = 5000
train.eval_period = 1000
train.checkpointer.period = 1000
