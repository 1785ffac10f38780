"""Heads on proposals: feature super-resolution for small ones."""

from lowres_d2.modeling.roi_heads.sr_discriminator import SRDiscriminator
from lowres_d2.modeling.roi_heads.sr_generator import SRGenerator
from lowres_d2.modeling.roi_heads.super_resolution import SuperResolution
from lowres_d2.modeling.roi_heads.super_resolved_cascade import SuperResolvedCascadeROIHeads
from lowres_d2.modeling.roi_heads.super_resolved_heads import (
    SuperResolvedRes5ROIHeads,
    SuperResolvedStandardROIHeads,
)

__all__ = [
    "SRDiscriminator",
    "SRGenerator",
    "SuperResolution",
    "SuperResolvedCascadeROIHeads",
    "SuperResolvedRes5ROIHeads",
    "SuperResolvedStandardROIHeads",
]
