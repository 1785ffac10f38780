"""Resamplers: what a low-resolution detector does to its images first."""

from lowres_d2.modeling.resample.any_factor import AnyFactor
from lowres_d2.modeling.resample.interpolation import Bicubic, Downsampled, DownUp, Identity
from lowres_d2.modeling.resample.learned import LearnedDownsampler
from lowres_d2.modeling.resample.resampler import Resampler
from lowres_d2.modeling.resample.super_resolved import SuperResolved

__all__ = [
    "AnyFactor",
    "Bicubic",
    "DownUp",
    "Downsampled",
    "Identity",
    "LearnedDownsampler",
    "Resampler",
    "SuperResolved",
]
