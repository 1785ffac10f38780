"""How near super-resolved images are to their targets."""

from lowres_d2.evaluation.super_resolution.evaluator import SuperResolutionEvaluator
from lowres_d2.evaluation.super_resolution.similarity import psnr, ssim

__all__ = ["SuperResolutionEvaluator", "psnr", "ssim"]
