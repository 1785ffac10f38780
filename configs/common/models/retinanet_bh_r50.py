"""RetinaNet on P2 to P6 for tiny objects, BH-ResNet50: anchors from 8 px on."""

from .bottom_heavy import pyramid
from .retinanet import octave
from .retinanet_r18_p2_p6 import model

# P6 from res5.
pyramid.top_block.in_feature = "res5"
pyramid.top_block.in_channels = 2048
model.backbone = pyramid
# The smallest have two strides, as in TOV_mmdetection.
anchors = model.anchor_generator
anchors.sizes = [[2 * stride * scale for scale in octave] for stride in anchors.strides]
model.head.norm = ""
model.num_classes = 1
model.test_topk_candidates = 1000
model.max_detections_per_image = 200
