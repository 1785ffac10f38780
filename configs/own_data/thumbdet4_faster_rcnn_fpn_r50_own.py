"""ThumbDet, 4x, of the zoo's Faster R-CNN, on your images that it has labelled (pseudo-label)."""

from ...projects.ThumbDet.configs.coco.thumbdet4_faster_rcnn_fpn_r50_200_coco_1x import (
    model,
    optimizer,
    train,
)
from ..common.data.coco_format import data, dataloader, num_classes
from ..common.schedule import one_cycle as lr_multiplier

model.detector.roi_heads.num_classes = num_classes
# The detector that has labelled the images; the student starts with its weights.
model.teacher.checkpoint = (
    "detectron2://COCO-Detection/faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl"
)

for _mapper in (dataloader.train.mapper, dataloader.test.mapper):
    # As the teacher was trained; a thumbnail's shorter side has 200 pixels.
    _mapper.augmentations[0].short_edge_length = 800
    _mapper.augmentations[0].max_size = 1333
# The weights expect BGR pixels.
dataloader.train.mapper.image_format = "BGR"
# What the teacher is not certain of is neither object nor background.
dataloader.train.mapper.crowds = "blank"
optimizer.lr = 0.005
train.max_iter = 5000
train.eval_period = 1000
train.checkpointer.period = 1000
