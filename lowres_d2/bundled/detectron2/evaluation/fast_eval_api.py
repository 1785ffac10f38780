"""COCO's evaluation in Rust: hotcoco, whose interface is pycocotools'."""

from __future__ import annotations

from typing import Any

import hotcoco
from detectron2._uncovered import needs_upstream


class COCOeval_opt:
    """``pycocotools.cocoeval.COCOeval``, faster: a ``hotcoco.COCOeval``.

    Args:
        cocoGt: ground truth, a pycocotools ``COCO``.
        cocoDt: detections, from its ``loadRes``.
        iouType: ``bbox`` or ``segm``.
    """

    def __new__(cls, cocoGt: Any, cocoDt: Any, iouType: str = "segm") -> hotcoco.COCOeval:
        if iouType == "keypoints":
            needs_upstream("COCOeval_opt of keypoints")
        truth, found = hotcoco.COCO(cocoGt.dataset), hotcoco.COCO(cocoDt.dataset)
        return hotcoco.COCOeval(truth, found, iouType)
