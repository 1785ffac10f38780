"""The base detector: Faster R-CNN C4, MobileNet, TT100K at 1600 px (Table 1)."""

from .....configs.common.models.faster_rcnn_c4_mobilenetv1 import model as mobilenet
from .....configs.common.models.faster_rcnn_c4_mobilenetv1 import weights_mobilenetv1
from .base_faster_rcnn_c4_r50_1600_tt100k import dataloader, lr_multiplier, model, optimizer, train

rpn = model.detector.proposal_generator
rpn.head.in_channels = mobilenet.proposal_generator.head.in_channels
mobilenet.proposal_generator = rpn
mobilenet.roi_heads.num_classes = model.detector.roi_heads.num_classes
model.detector = mobilenet

dataloader.train.mapper.image_format = mobilenet.input_format
train.init_checkpoint = weights_mobilenetv1
