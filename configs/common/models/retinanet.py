"""RetinaNet (Lin et al. 2017), ResNet-50 FPN, as in Detectron2's zoo."""

from detectron2.modeling import RetinaNet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead

from .anchors import anchor_generator, box_offsets, matcher
from .dense import model

model._target_ = RetinaNet
model.backbone.top_block.in_feature = "res5"
model.backbone.top_block.in_channels = 2048

model.head._target_ = RetinaNetHead
# Anchors per cell: three sizes times three aspect ratios.
model.head.num_anchors = 9

anchor_generator.strides = [8, 16, 32, 64, 128]
# Three sizes per octave, the smallest four strides.
octave = (1, 2 ** (1 / 3), 2 ** (2 / 3))
anchor_generator.sizes = [[4 * s * scale for scale in octave] for s in anchor_generator.strides]
matcher.thresholds = [0.4, 0.5]

model.anchor_generator = anchor_generator
model.anchor_matcher = matcher
model.box2box_transform = box_offsets
# Weight of objects against background; exponent that lowers the loss of easy examples.
model.focal_loss_alpha = 0.25
model.focal_loss_gamma = 2.0  # alpha belongs to this gamma
