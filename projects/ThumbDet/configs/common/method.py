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
    # 4 or 2.
    factor=4,
    # 1, 2 or 5 at 4x.
    layers=2,
    # Of each layer; null: (2, 2) at 4x, (1, 2) at 2x.
    strides=None,
    # box (a box filter) or random.
    init="box",
)

# Eq. 5.
moments = L(MomentMatching)(
    # lambda
    spread_weight=0.1,
    # std or variance.
    spread="std",
)

features = L(FeatureDistillation)(
    # conv3_x to conv5_x; strides are in pixels of what each of the two networks gets.
    pairs=[
        L(FeaturePair)(student=f"backbone.res{stage}", student_stride=2**stage)
        for stage in (3, 4, 5)
    ],
    # points (the same place in the image) or interpolate (to the teacher's size).
    alignment="points",
)
# The same stages below a feature pyramid.
features_fpn = deepcopy(features)
for _pair, _stage in zip(features_fpn.pairs, (3, 4, 5), strict=True):
    _pair.student = f"backbone.bottom_up.res{_stage}"

# Eq. 6 and 7, Algorithm 1.
query_logits = L(QueryLogitDistillation)(
    # softmax or sigmoid.
    form="softmax",
    temperature=1.0,
    # Best class probability of the teacher's queries that teach, and what makes it of logits.
    threshold=0.5,
    activation="sigmoid",
    # index, for a student that starts as its teacher, or hungarian.
    pairing="index",
)
# In place of it where there are no queries: heads on cells of a map,
dense_logits = L(DenseLogitDistillation)(
    strides=[8, 16, 32, 64, 128],
    # focal, softmax or sigmoid.
    form="focal",
    threshold=0.5,
)
# and heads on boxes.
proposal_logits = L(ProposalLogitDistillation)(form="softmax", temperature=1.0, threshold=0.5)

# gamma, beta and alpha of Eq. 8.
loss_weights = dict(moments=1.0, feature=0.1, logit=0.5)

# A network like the student's, at full resolution; recipes say where its weights are.
teacher = L(Teacher)(model="${..detector}")
