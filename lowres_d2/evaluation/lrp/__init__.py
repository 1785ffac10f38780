"""Optimal localisation recall precision (oLRP) of detections."""

from lowres_d2.evaluation.lrp.matches import ClassMatches, match_classes
from lowres_d2.evaluation.lrp.optimal import OptimalLRP, mean_of_classes, optimal_lrp
from lowres_d2.evaluation.lrp.summary import PARTS, add_olrp, flat_olrp

__all__ = [
    "PARTS",
    "ClassMatches",
    "OptimalLRP",
    "add_olrp",
    "flat_olrp",
    "match_classes",
    "mean_of_classes",
    "optimal_lrp",
]
