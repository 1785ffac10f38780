"""COCO's evaluation in C++: faster-coco-eval behind pycocotools' interface."""

from __future__ import annotations

from typing import Any

from faster_coco_eval.core.faster_eval_api import COCOeval_faster


class COCOeval_opt(COCOeval_faster):
    """``pycocotools.cocoeval.COCOeval``, faster; per-image results stay in C++.

    Args:
        cocoGt: ground truth, a pycocotools ``COCO``.
        cocoDt: detections, from its ``loadRes``.
        iouType: ``bbox``, ``segm`` or ``keypoints``.
    """

    def __init__(self, cocoGt: Any = None, cocoDt: Any = None, iouType: str = "segm") -> None:
        super().__init__(cocoGt, cocoDt, iouType, print_function=print, separate_eval=True)
