"""The base detector: Faster R-CNN C4, MobileNet, VOC 2007 + 2012 trainval, tested on 2007 test."""

from .....configs.common.models.faster_rcnn_c4_mobilenetv1 import model as mobilenet
from .....configs.common.models.faster_rcnn_c4_mobilenetv1 import weights_mobilenetv1
from .base_faster_rcnn_c4_r50_600_voc import dataloader, lr_multiplier, model, optimizer, train

mobilenet.roi_heads.num_classes = model.detector.roi_heads.num_classes
model.detector = mobilenet
dataloader.train.mapper.image_format = mobilenet.input_format
train.init_checkpoint = weights_mobilenetv1
