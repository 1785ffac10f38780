"""Meta-architectures: the composition, and detectors with one part changed for tiny objects."""

from lowres_d2.modeling.meta_arch.low_res_detector import LowResDetector
from lowres_d2.modeling.meta_arch.nearest_point_fcos import NearestPointFCOS

__all__ = ["LowResDetector", "NearestPointFCOS"]
