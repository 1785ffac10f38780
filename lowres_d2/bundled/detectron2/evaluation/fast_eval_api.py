"""COCO's evaluation in C++: faster-coco-eval behind pycocotools' interface."""

from __future__ import annotations

from typing import Any

from detectron2._uncovered import needs_upstream
from faster_coco_eval.core.faster_eval_api import COCOeval_faster


class COCOeval_opt(COCOeval_faster):
    """``pycocotools.cocoeval.COCOeval``, faster; results of single images stay in C++.

    Args:
        cocoGt: ground truth, a pycocotools ``COCO``.
        cocoDt: detections, from its ``loadRes``.
        iouType: ``bbox`` or ``segm``.
    """

    def __init__(self, cocoGt: Any = None, cocoDt: Any = None, iouType: str = "segm") -> None:
        if iouType == "keypoints":
            needs_upstream("COCOeval_opt of keypoints")
        super().__init__(cocoGt, cocoDt, iouType, print_function=print)
