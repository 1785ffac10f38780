"""The parts of the paper: downsampler (Sec. 3.3), objectives (Sec. 3.4), weights, teacher."""

from copy import deepcopy

from lowres_d2.modeling.objectives import (
    DenseLogitDistillation,
    FeatureDistillation,
    FeaturePair,
    MomentMatching,
    ProposalLogitDistillation,
    QueryLogitDistillation,
)
from lowres_d2.modeling.resample import LearnedDownsampler
from lowres_d2.modeling.teacher import Teacher

from detectron2.config import LazyCall as L

downsampler = L(LearnedDownsampler)(
    # 2, 3 or 4; the paper has 2 and 4.
    factor=4,
    # Number of convolutions: 1, 2 or 5 at 4x, 1 or 2 at 2x, 2 at 3x.
    layers=2,
    # Stride of each layer; null: (2, 2) at 4x, (1, 2) at 2x.
    strides=None,
    # Initial weights: box (a box filter) or random.
    init="box",
)

# Eq. 5.
moments = L(MomentMatching)(
    # lambda.
    spread_weight=0.1,
    # Which spread: std or variance.
    spread="std",
    # Over the channels: mean or sum.
    reduction="mean",
)

features = L(FeatureDistillation)(
    # conv3_x to conv5_x; strides are in pixels of each network's own input.
    pairs=[
        L(FeaturePair)(student=f"backbone.res{stage}", student_stride=2**stage)
        for stage in (3, 4, 5)
    ],
    # points (features of the same points of the image) or interpolate (to the teacher's size).
    alignment="points",
    # Over the layers: mean (Eq. 8) or sum.
    reduction="mean",
)
# The same stages below a feature pyramid.
features_fpn = deepcopy(features)
for _pair, _stage in zip(features_fpn.pairs, (3, 4, 5), strict=True):
    _pair.student = f"backbone.bottom_up.res{_stage}"

# Eq. 6 and 7, Algorithm 1.
query_logits = L(QueryLogitDistillation)(
    # Form of the loss: softmax or sigmoid.
    form="softmax",
    # T of Eq. 7, and whether the loss is multiplied by its square (not in Eq. 7).
    temperature=1.0,
    times_squared_temperature=False,
    # Teacher queries with a best class probability above this are distilled; its activation.
    threshold=0.5,
    activation="sigmoid",
    # How queries are paired: index (Algorithm 1) or hungarian.
    pairing="index",
)
# Instead of it for detectors without queries: heads on cells of a feature map,
dense_logits = L(DenseLogitDistillation)(
    strides=[8, 16, 32, 64, 128],
    # Form of the loss: focal, softmax or sigmoid.
    form="focal",
    threshold=0.5,
)
# and heads on regions.
proposal_logits = L(ProposalLogitDistillation)(form="softmax", temperature=1.0, threshold=0.5)

# gamma of Eq. 10, beta and alpha of Eq. 9.
loss_weights = dict(moments=1.0, feature=0.1, logit=0.5)

# A network like the student's, at full resolution; recipes give its weights.
teacher = L(Teacher)(model="${..detector}")
