"""DFD for detectors, beyond the paper: Eq. 1 at each point of the feature pyramid."""

from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair

from detectron2.config import LazyCall as L

# Half the squared distance, summed over the channels; mean over the points inside the images, and
# over the levels.
features_fpn = L(FeatureDistillation)(
    pairs=[
        L(FeaturePair)(student=f"backbone.fpn_output{level}", student_stride=2**level)
        for level in (2, 3, 4, 5)
    ],
    distance="euclidean",
)

# lambda of Eq. 4: with a trained small FCOS as teacher, 0.1 makes this loss 20 times as large as
# the detector's own.
loss_weights = dict(feature=0.01)
