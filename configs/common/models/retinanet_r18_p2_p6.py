"""RetinaNet on P2 to P6 for tiny objects, ResNet-18: strides 4 to 64, P6 from res5.

The smallest anchors have 16 px.
"""

from .fpn_r18_p2_p6 import pixel_mean, pixel_std, pyramid
from .retinanet import model, octave

model.backbone = pyramid
model.backbone.top_block.in_feature = "res5"
model.backbone.top_block.in_channels = 512
model.head_in_features = ["p2", "p3", "p4", "p5", "p6"]
model.anchor_generator.strides = [4, 8, 16, 32, 64]
model.anchor_generator.sizes = [
    [4 * stride * scale for scale in octave] for stride in model.anchor_generator.strides
]
# Statistics of its own for each level; "" has none, as in Detectron2's zoo.
model.head.norm = "BN"

model.num_classes = 8
model.test_score_thresh = 0.05
model.test_nms_thresh = 0.5
model.test_topk_candidates = 3000
model.max_detections_per_image = 1500
model.input_format = "RGB"
model.pixel_mean = pixel_mean
model.pixel_std = pixel_std
