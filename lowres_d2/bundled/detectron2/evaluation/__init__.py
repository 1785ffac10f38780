"""Evaluation: running a model over a data set, COCO's and Pascal VOC's box metrics."""

from detectron2._uncovered import uncovered
from detectron2.evaluation.coco_evaluation import COCOEvaluator
from detectron2.evaluation.evaluator import (
    DatasetEvaluator,
    DatasetEvaluators,
    inference_context,
    inference_on_dataset,
)
from detectron2.evaluation.pascal_voc_evaluation import PascalVOCDetectionEvaluator
from detectron2.evaluation.testing import print_csv_format, verify_results

CityscapesInstanceEvaluator = uncovered("detectron2.evaluation.CityscapesInstanceEvaluator")
CityscapesSemSegEvaluator = uncovered("detectron2.evaluation.CityscapesSemSegEvaluator")
COCOPanopticEvaluator = uncovered("detectron2.evaluation.COCOPanopticEvaluator")
LVISEvaluator = uncovered("detectron2.evaluation.LVISEvaluator")
RotatedCOCOEvaluator = uncovered("detectron2.evaluation.RotatedCOCOEvaluator")
SemSegEvaluator = uncovered("detectron2.evaluation.SemSegEvaluator")

__all__ = [
    "COCOEvaluator",
    "COCOPanopticEvaluator",
    "CityscapesInstanceEvaluator",
    "CityscapesSemSegEvaluator",
    "DatasetEvaluator",
    "DatasetEvaluators",
    "LVISEvaluator",
    "PascalVOCDetectionEvaluator",
    "RotatedCOCOEvaluator",
    "SemSegEvaluator",
    "inference_context",
    "inference_on_dataset",
    "print_csv_format",
    "verify_results",
]
