"""Detection metrics by object size, accuracy of classifiers, PSNR and SSIM of images."""

from lowres_d2.evaluation.benchmarks import (
    TinyPersonEvaluator,
    VisDroneEvaluator,
    WiderFaceEvaluator,
)
from lowres_d2.evaluation.classification import ClassificationEvaluator
from lowres_d2.evaluation.coco_engine import BoxScores, score_boxes
from lowres_d2.evaluation.found_boxes import DetectionWriter
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.evaluation.sized_coco import SizedCOCOEvaluator
from lowres_d2.evaluation.sized_f1 import SizedF1Evaluator
from lowres_d2.evaluation.super_resolution import SuperResolutionEvaluator
from lowres_d2.evaluation.tables import summary_tables

__all__ = [
    "BoxScores",
    "ClassificationEvaluator",
    "DetectionWriter",
    "SizeRanges",
    "SizedCOCOEvaluator",
    "SizedF1Evaluator",
    "SuperResolutionEvaluator",
    "TinyPersonEvaluator",
    "VisDroneEvaluator",
    "WiderFaceEvaluator",
    "score_boxes",
    "summary_tables",
]
