"""The composition of detector, resampler, teacher and objectives, and its parts."""

from lowres_d2.modeling.checkpoint_keys import bare_detector_state_dict, route_detector_checkpoint
from lowres_d2.modeling.meta_arch import DeformableDETR, LowResDetector, NearestPointFCOS

__all__ = [
    "DeformableDETR",
    "LowResDetector",
    "NearestPointFCOS",
    "bare_detector_state_dict",
    "route_detector_checkpoint",
]
