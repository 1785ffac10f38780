"""The base detector: Faster R-CNN C4, MobileNet, COCO, 12 epochs (Table 3)."""

from .....configs.coco.full_faster_rcnn_c4_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .....configs.common.models.faster_rcnn_c4_mobilenetv1 import model as mobilenet
from .....configs.common.models.faster_rcnn_c4_mobilenetv1 import weights_mobilenetv1

model.detector = mobilenet
dataloader.train.mapper.image_format = mobilenet.input_format
train.init_checkpoint = weights_mobilenetv1
