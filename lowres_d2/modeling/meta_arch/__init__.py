"""Meta-architectures: detection at low resolution with one factor or several, Deformable DETR,
R-CNN with super-resolution, FCOS for tiny objects, classification, and super-resolution."""

from lowres_d2.modeling.meta_arch.any_factor_detector import AnyFactorDetector, AtFactor
from lowres_d2.modeling.meta_arch.deformable_detr import DeformableDETR
from lowres_d2.modeling.meta_arch.image_classifier import ImageClassifier
from lowres_d2.modeling.meta_arch.low_res_detector import LowResDetector
from lowres_d2.modeling.meta_arch.nearest_point_fcos import NearestPointFCOS
from lowres_d2.modeling.meta_arch.ranged_fcos import RangedFCOS
from lowres_d2.modeling.meta_arch.super_resolved_rcnn import SuperResolvedRCNN
from lowres_d2.modeling.meta_arch.super_resolver import SuperResolver

__all__ = [
    "AnyFactorDetector",
    "AtFactor",
    "DeformableDETR",
    "ImageClassifier",
    "LowResDetector",
    "NearestPointFCOS",
    "RangedFCOS",
    "SuperResolvedRCNN",
    "SuperResolver",
]
