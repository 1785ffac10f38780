"""The base detector: Faster R-CNN C4, ResNet-50, TT100K at 1600 px."""

from .....configs.coco.full_faster_rcnn_c4_r50_800_coco_1x import model, optimizer, train
from .....configs.common.data.tt100k import dataloader
from .....configs.common.schedule import multistep_voc as lr_multiplier

model.detector.roi_heads.num_classes = 45
# In 200 of the test images, signs are 10 to 162 px long at 1600 px.
rpn = model.detector.proposal_generator
rpn.anchor_generator.sizes = [[8, 16, 32, 64, 128, 256]]
rpn.head.num_anchors = 18

# An image has 2.4 times the pixels of COCO's largest, 800 x 1333.
dataloader.train.total_batch_size = 8
optimizer.lr = 0.01
# 8 of at most 6,105 images per iteration: 23.6 epochs or more.
train.max_iter = 18000
train.eval_period = 3000
train.best.val_metric = "bbox/F1-small"
