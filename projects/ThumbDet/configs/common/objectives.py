"""What thumbnails and students learn from (Sec. 3.3 and 3.4), and how much of it."""

from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair, MomentMatching

from detectron2.config import LazyCall as L

moments = L(MomentMatching)()

# conv3_x to conv5_x, whose strides are in pixels of what each network gets.
_STAGES = [("res3", 8), ("res4", 16), ("res5", 32)]
features = L(FeatureDistillation)(
    pairs=[L(FeaturePair)(student=f"backbone.{name}", student_stride=s) for name, s in _STAGES]
)
# The same stages below a feature pyramid.
features_fpn = L(FeatureDistillation)(
    pairs=[
        L(FeaturePair)(student=f"backbone.bottom_up.{name}", student_stride=s)
        for name, s in _STAGES
    ]
)

# gamma, beta and alpha of Eq. 8.
loss_weights = dict(moments=1.0, feature=0.1, logit=0.5)
