"""The small FCOS from scratch on your COCO-format data: data.train_json=... data.val_json=..."""

from lowres_d2.data.datasets import count_classes

from detectron2.config import LazyCall as L

from ..common.data.coco_format import data, dataloader
from ..quick.full_fcos_small_256_plates import lr_multiplier, model, optimizer, train

num_classes = L(count_classes)(json_file="${data.train_json}", classes="${data.classes}")
model.detector.num_classes = num_classes

# A few minutes on a CPU; larger images allow it to find smaller objects.
for _mapper in (dataloader.train.mapper, dataloader.test.mapper):
    _mapper.augmentations[0].short_edge_length = 240
    _mapper.augmentations[0].max_size = 400
train.max_iter = 1000
train.eval_period = 500
train.checkpointer.period = 250
