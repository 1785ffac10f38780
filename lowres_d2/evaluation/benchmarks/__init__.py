"""Metrics of benchmarks whose rules are not COCO's: ignore regions above all."""

from lowres_d2.evaluation.benchmarks.tinyperson import TinyPersonEvaluator
from lowres_d2.evaluation.benchmarks.visdrone import VisDroneEvaluator
from lowres_d2.evaluation.benchmarks.widerface import WiderFaceEvaluator

__all__ = ["TinyPersonEvaluator", "VisDroneEvaluator", "WiderFaceEvaluator"]
