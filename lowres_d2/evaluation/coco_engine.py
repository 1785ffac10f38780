"""COCO's box metrics for any size ranges, computed by faster-coco-eval in one pass.

The engine's own summary is fixed to three size ranges and 100 detections; here only its arrays are
read. Their axes, in pycocotools' letters: T IoU thresholds, R 101 recall levels, K categories, A
ranges of area, M caps on detections. Boxes are XYWH in pixels of the original image. An entry of -1
in the arrays means that there is no ground truth for it; outside of this file that is None.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

# As pycocotools makes them; 0.9 becomes 0.8999999999999999, hence isclose below.
COCO_IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BoxScores:
    """Precision and recall of one evaluation, as fractions between 0 and 1.

    Attributes:
        precision: (T, R, K, A), at the largest cap on detections.
        recall: (T, K, A, M).
        iou_thresholds: the T thresholds.
        max_dets: the M caps on detections per image and category, ascending.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_thresholds: tuple[float, ...]
    max_dets: tuple[int, ...]

    def ap(self, area: int, iou: float | None = None, category: int | None = None) -> float | None:
        """Average precision in one range of area; None where there is no ground truth.

        Args:
            area: index on axis A.
            iou: one of the thresholds; None averages over all.
            category: index on axis K; None averages over all that have ground truth.
        """
        return _mean(self.precision[self._rows(iou)][:, :, _one_or_all(category), area])

    def recall_at(
        self,
        area: int,
        iou: float | None = None,
        category: int | None = None,
        max_dets: int | None = None,
    ) -> float | None:
        """Recall in one range of area, averaged as in :meth:`ap`; None without ground truth.

        Args:
            max_dets: one of the caps; None takes the largest.
        """
        cap = -1 if max_dets is None else self.max_dets.index(max_dets)
        return _mean(self.recall[self._rows(iou)][:, _one_or_all(category), area, cap])

    def _rows(self, iou: float | None) -> slice | list[int]:
        if iou is None:
            return slice(None)
        return [t for t, known in enumerate(self.iou_thresholds) if math.isclose(iou, known)]


def open_engine(
    ground_truth: dict,
    detections: Sequence[dict],
    areas: Sequence[tuple[float, float]],
    max_dets: Sequence[int],
    iou_thresholds: Sequence[float],
    **settings: bool,
) -> COCOeval_faster:
    """faster-coco-eval's evaluation of boxes, not yet run.

    Objects and detections have the ids 1, 2, ... there, in the order given; images are in the
    order of their ids.

    Args:
        ground_truth: as :func:`score_boxes` takes it, like the others.
        detections: COCO results.
        areas: the A ranges.
        max_dets: caps on detections.
        iou_thresholds: the T thresholds.
        **settings: further settings of ``COCOeval_faster``.
    """
    from faster_coco_eval.core.coco import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    # The engine takes only integers as image ids, and annotation id 0 for 'not matched', so both
    # are renumbered. The order is kept: it breaks ties between equal scores.
    ids = sorted(image["id"] for image in ground_truth["images"])
    number = {image_id: k for k, image_id in enumerate(ids, start=1)}
    frame = {
        "images": [{"id": k} for k in number.values()],
        "categories": [{"id": category["id"]} for category in ground_truth["categories"]],
    }
    keep = ("category_id", "bbox", "area", "iscrowd")
    targets = [
        {key: annotation[key] for key in keep}
        | {"id": k, "image_id": number[annotation["image_id"]]}
        for k, annotation in enumerate(ground_truth["annotations"], start=1)
    ]
    found = [
        {
            "id": k,
            "image_id": number[detection["image_id"]],
            "category_id": detection["category_id"],
            "bbox": detection["bbox"],
            "score": detection["score"],
            # COCO ignores an unmatched detection in ranges that its own area lies outside of.
            "area": detection["bbox"][2] * detection["bbox"][3],
            "iscrowd": 0,
        }
        for k, detection in enumerate(detections, start=1)
    ]
    run = COCOeval_faster(
        COCO(frame | {"annotations": targets}, print_function=logger.debug),
        COCO(frame | {"annotations": found}, print_function=logger.debug),
        iouType="bbox",
        print_function=logger.debug,
        **settings,
    )
    run.params.areaRng = [list(pair) for pair in areas]
    run.params.areaRngLbl = [str(k) for k in range(len(areas))]
    run.params.maxDets = sorted(max_dets)
    run.params.iouThrs = np.asarray(iou_thresholds, dtype=np.float64)
    return run


def score_boxes(
    ground_truth: dict,
    detections: Sequence[dict],
    areas: Sequence[tuple[float, float]],
    max_dets: Sequence[int],
    iou_thresholds: Sequence[float] = COCO_IOU_THRESHOLDS,
) -> BoxScores:
    """Run COCO's box evaluation.

    Args:
        ground_truth: a COCO dict whose annotations have ``bbox``, ``area`` and ``iscrowd``; ids of
            images may be of any type that can be sorted.
        detections: COCO results: ``image_id``, ``category_id``, ``bbox``, ``score``.
        areas: the A ranges in square pixels, both ends included.
        max_dets: caps on detections per image and category.
        iou_thresholds: the T thresholds, ascending.

    Returns:
        The arrays, with categories in ascending order of id.
    """
    run = open_engine(ground_truth, detections, areas, max_dets, iou_thresholds)
    run.evaluate()
    run.accumulate()
    return BoxScores(
        precision=np.asarray(run.eval["precision"])[..., -1],
        recall=np.asarray(run.eval["recall"]),
        iou_thresholds=tuple(iou_thresholds),
        max_dets=tuple(run.params.maxDets),
    )


def has_iou(iou: float, iou_thresholds: Sequence[float]) -> bool:
    """Whether a threshold is among those that are evaluated."""
    return any(math.isclose(iou, known) for known in iou_thresholds)


def _one_or_all(index: int | None) -> slice | list[int]:
    return slice(None) if index is None else [index]


def _mean(values: np.ndarray) -> float | None:
    # One mean over all thresholds, recall levels and classes, as in COCO.
    known = values[values > -1]
    return float(known.mean()) if known.size else None
