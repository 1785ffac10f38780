"""The small FCOS from scratch on your data: data.path=FOLDER"""

from ..common.data.coco_format import data, dataloader, num_classes
from ..quick.full_fcos_small_256_plates import lr_multiplier, model, optimizer, train

model.detector.num_classes = num_classes

# A few minutes on a CPU; larger images allow it to find smaller objects.
for _mapper in (dataloader.train.mapper, dataloader.test.mapper):
    _mapper.augmentations[0].short_edge_length = 240
    _mapper.augmentations[0].max_size = 400
train.max_iter = 1000
train.eval_period = 500
train.checkpointer.period = 250
