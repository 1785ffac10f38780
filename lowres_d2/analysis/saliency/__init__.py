"""Which part of an image the features of detectors speak for, beside what they find."""

from lowres_d2.analysis.saliency.gradient import Saliency, SaliencyMap, saliency_map, saliency_of
from lowres_d2.analysis.saliency.sheet import write_saliency

__all__ = ["Saliency", "SaliencyMap", "saliency_map", "saliency_of", "write_saliency"]
