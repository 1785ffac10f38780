"""COCO's box metrics for any size ranges, computed by hotcoco in one pass.

Its arrays are pycocotools' own, bit for bit, also with crowds, equal scores, no detections, and
10,000 classes. Its summary is fixed to three size ranges, so that only the arrays are read. Their
axes, in pycocotools' letters: T IoU thresholds, R 101 recall levels, K categories, A ranges of
area, M caps on detections. Boxes are XYWH in pixels of the original image. An entry of -1 in the
arrays means that there is no ground truth for it; outside of this file that is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hotcoco import COCOeval

# As pycocotools makes them; 0.9 becomes 0.8999999999999999, hence isclose below.
COCO_IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())

RECALLS = np.linspace(0, 1, 101)  # COCO's recall levels


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


@dataclass(frozen=True)
class Matches:
    """What became of detections in one range of area, as pycocotools matches them.

    Rows are detections under the cap, image by image and class by class, highest score first. Image
    ``k`` is the one with the ``k``-th lowest id.

    Attributes:
        detections: (D,) index of each among those given.
        objects: (T, D) index of the annotation that it is matched to; -1 for none.
        ignored: (T, D) which count neither as hit nor as miss.
        images: (D,) number of its image.
    """

    detections: np.ndarray
    objects: np.ndarray
    ignored: np.ndarray
    images: np.ndarray


class _Engine:
    """Ground truth and detections as hotcoco has them.

    There, images, objects and detections have the ids 1, 2, ...: images in the order of their ids,
    which may be of any type that can be sorted, the others in the order given.

    Args:
        ground_truth: as :func:`score_boxes` takes it.
        detections: COCO results.
    """

    def __init__(self, ground_truth: dict, detections: Sequence[dict]) -> None:
        ids = sorted(image["id"] for image in ground_truth["images"])
        number = {image_id: k for k, image_id in enumerate(ids, start=1)}
        self._images = [{"id": k} for k in number.values()]
        self._categories = [
            {"id": category["id"], "name": str(category["id"])}
            for category in ground_truth["categories"]
        ]
        objects = ground_truth["annotations"]
        self._image_ids = _column(map(number.__getitem__, _values(objects, "image_id")), np.int64)
        self._category_ids = _column(_values(objects, "category_id"), np.int64)
        self._boxes = _boxes(objects)
        self._areas = _column(_values(objects, "area"), np.float64)
        self._crowds = _column(_values(objects, "iscrowd"), bool)
        # Image, box, score and category, as the engine takes results.
        self._found = np.empty((len(detections), 7))
        self._found[:, 0] = _column(
            map(number.__getitem__, _values(detections, "image_id")), np.float64
        )
        self._found[:, 1:5] = _boxes(detections)
        self._found[:, 5] = _column(_values(detections, "score"), np.float64)
        self._found[:, 6] = _column(_values(detections, "category_id"), np.float64)

    def run(
        self,
        areas: Sequence[tuple[float, float]],
        max_dets: Sequence[int],
        iou_thresholds: Sequence[float],
        outside_is_crowd: bool = False,
        use_classes: bool = True,
    ) -> COCOeval:
        """A matching in ranges of area.

        Args:
            areas: the A ranges; one, if ``outside_is_crowd``.
            max_dets: as :func:`score_boxes` takes it, like the next.
            iou_thresholds: the T thresholds.
            outside_is_crowd: whether objects outside of the range are ignored as crowds are.
            use_classes: whether only an object of its class can be matched to a detection.
        """
        from hotcoco import COCO, COCOeval

        crowds = self._crowds
        if outside_is_crowd:
            ((low, high),) = areas
            crowds = crowds | (self._areas < low) | (self._areas > high)
        truth = COCO.from_arrays(
            self._images,
            self._categories,
            self._image_ids,
            self._category_ids,
            self._boxes,
            ids=np.arange(1, len(crowds) + 1),
            area=self._areas,
            iscrowd=crowds,
        )
        run = COCOeval(truth, truth.load_res(self._found), "bbox")
        run.params.area_rng = [list(map(float, pair)) for pair in areas]
        run.params.area_rng_lbl = [str(k) for k in range(len(areas))]
        run.params.max_dets = sorted(max_dets)
        run.params.iou_thrs = [float(iou) for iou in iou_thresholds]
        run.params.use_cats = use_classes
        run.evaluate()
        return run


def score_boxes(
    ground_truth: dict,
    detections: Sequence[dict],
    areas: Sequence[tuple[float, float]],
    max_dets: Sequence[int],
    iou_thresholds: Sequence[float] = COCO_IOU_THRESHOLDS,
    outside_is_crowd: int = 0,
) -> BoxScores:
    """Run COCO's box evaluation.

    Args:
        ground_truth: a COCO dict whose annotations have ``bbox``, ``area`` and ``iscrowd``; ids of
            images may be of any type that can be sorted.
        detections: COCO results: ``image_id``, ``category_id``, ``bbox``, ``score``.
        areas: the A ranges in square pixels, both ends included.
        max_dets: caps on detections per image and category.
        iou_thresholds: the T thresholds, ascending.
        outside_is_crowd: of how many ranges, the first ones, objects outside are ignored as crowds
            are, TinyPerson's rule. Each takes a pass of its own.

    Returns:
        The arrays, with categories in ascending order of id.
    """
    engine = _Engine(ground_truth, detections)
    own = [[area] for area in areas[:outside_is_crowd]]
    rest = list(areas[outside_is_crowd:])
    unique = list(dict.fromkeys(rest))  # of equal ranges the engine fills in one alone
    parts = []
    for k, ranges in enumerate([*own, unique] if unique else own):
        run = engine.run(ranges, max_dets, iou_thresholds, outside_is_crowd=k < len(own))
        run.accumulate()
        arrays = run.eval  # made at each access
        parts.append((arrays["precision"][..., -1], arrays["recall"]))
    precision, recall = zip(*parts, strict=True)
    order = [*range(len(own)), *(len(own) + unique.index(area) for area in rest)]
    return BoxScores(
        precision=np.concatenate(precision, axis=3)[..., order],
        recall=np.concatenate(recall, axis=2)[:, :, order],
        iou_thresholds=tuple(iou_thresholds),
        max_dets=tuple(sorted(max_dets)),
    )


def match_boxes(
    ground_truth: dict,
    detections: Sequence[dict],
    max_dets: int,
    iou_thresholds: Sequence[float],
    area: tuple[float, float] = (0.0, math.inf),
    outside_is_crowd: bool = False,
    use_classes: bool = True,
) -> Matches:
    """Match detections with objects, highest score first, one to one but for crowds.

    Args:
        ground_truth: as :func:`score_boxes` takes it, like the next.
        detections: COCO results.
        max_dets: cap on detections per image and category.
        iou_thresholds: the T lowest IoUs of a match.
        area: range in square pixels.
        outside_is_crowd: whether objects outside of it are ignored as crowds are.
        use_classes: whether only an object of its class can be matched to a detection.
    """
    engine = _Engine(ground_truth, detections)
    run = engine.run([area], [max_dets], iou_thresholds, outside_is_crowd, use_classes)
    rows = [row for row in run.eval_imgs if row is not None and row["dtIds"]]
    nothing = np.zeros((len(iou_thresholds), 0), dtype=np.int64)

    def joined(key: str) -> np.ndarray:
        return np.concatenate([nothing, *(np.array(row[key]) for row in rows)], axis=1)

    counts = [len(row["dtIds"]) for row in rows]
    numbers = [row["image_id"] - 1 for row in rows]
    return Matches(
        detections=_column((k for row in rows for k in row["dtIds"]), np.int64) - 1,
        objects=joined("dtMatches") - 1,
        ignored=joined("dtIgnore").astype(bool),
        images=np.repeat(np.array(numbers, dtype=np.int64), counts),
    )


def _column(values: Iterable, kind: type) -> np.ndarray:
    return np.fromiter(values, dtype=kind)


def _values(rows: Iterable[dict], key: str) -> Iterable:
    return map(itemgetter(key), rows)


def _boxes(rows: Sequence[dict]) -> np.ndarray:
    numbers = chain.from_iterable(_values(rows, "bbox"))  # faster than an array of lists
    return _column(numbers, np.float64).reshape(-1, 4)


def has_iou(iou: float, iou_thresholds: Sequence[float]) -> bool:
    """Whether a threshold is among those that are evaluated."""
    return any(math.isclose(iou, known) for known in iou_thresholds)


def _one_or_all(index: int | None) -> slice | list[int]:
    return slice(None) if index is None else [index]


def _mean(values: np.ndarray) -> float | None:
    # One mean over all thresholds, recall levels and classes, as in COCO.
    known = values[values > -1]
    return float(known.mean()) if known.size else None
