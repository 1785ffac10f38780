"""Recall, accuracy and F1 by object size at one score: the Tsinghua-Tencent 100K benchmark.

Source: the evaluation code that comes with the data (``code/python/anno_func.py``, ``eval_annos``),
and ``code/results`` for the settings it was run with; paper: Zhu et al., "Traffic-Sign Detection
and Classification in the Wild" (CVPR 2016). Over all images of the test set:

1. Objects and detections of classes outside the list are ignored, and so are detections with a
   score under the threshold.
2. Objects and detections of one class with IoU over 0.5 (not equal to it) are matched one to one,
   highest IoU first (COCO's evaluation: highest score first).
3. The size of a box is its longer side; a size range includes its lower end and not its upper one.
   An object outside of the size range is ignored, and so is the detection that is matched to it. A
   matched detection is counted with its object, whatever its own size; an unmatched one counts by
   its own size.
4. Recall is matched / objects, accuracy (elsewhere: precision) is matched / detections. Metrics
   over all sizes cover objects up to 400 px: larger ones are in no metric.

Our choices. F1 is 2 matched / (objects + detections), the harmonic mean; the code has no F1. A size
range without objects has no value, and without detections there is no accuracy, where the code
gives 1. Crowds, of which TT100K has none, are ignored like objects outside of a size range. The
threshold: the code's default, 40, counts rectangles that its own detector merges, and is not a
probability; the scores of the Fast R-CNN detections published with it end at 0.50, hence 0.5. Later
papers choose their own thresholds, so the best F1 over thresholds is reported as well, as a
diagnostic: it is chosen on the test set. Papers also give sizes as areas, and count an area of
exactly 32^2 as small (Noh et al., "Better to Follow, Follow to Be Better", ICCV 2019):
``size_by="sqrt_area"`` uses these, with the upper end of a size range and not the lower one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.evaluation.f1_engine import Boxes, candidate_pairs, count_size_range, match
from lowres_d2.evaluation.f1_summary import best_f1, counts_row, f1_score, f1_tables, flat_f1
from lowres_d2.evaluation.found_boxes import GroundTruth
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.evaluation.sized_coco import SizedCOCOEvaluator
from lowres_d2.own_files import own_path

import numpy as np

SUMMARY_F1 = "sized_f1.json"
TT100K_SIZE_RANGES = {"small": (0, 32), "medium": (32, 96), "large": (96, 400)}
IOU = 0.5
THRESHOLDS = np.arange(100) / 100  # from which the best F1 is chosen

_SIZES = ("longer_side", "sqrt_area")


class SizedF1Evaluator(SizedCOCOEvaluator):
    """Recall, accuracy and F1 by size range as in TT100K's benchmark, with COCO's AP.

    ``evaluate()`` adds to the metrics of :class:`SizedCOCOEvaluator`, in percent: ``F1``,
    ``recall``, ``accuracy`` over all sizes; ``F1-x``, ``recall-x``, ``accuracy-x`` for a size range
    x; ``F1-c`` for each class c. Also the counts ``objects`` and ``detections``, and the best F1
    with its score threshold, ``best-F1`` and ``best-F1-score``, over all sizes and with ``-x``.
    Metrics without objects are None. AP keeps COCO's sizes: sqrt(area), both ends of a size range
    included.
    """

    def __init__(
        self,
        dataset: GroundTruth,
        size_ranges: SizeRanges | str | Mapping | Sequence = TT100K_SIZE_RANGES,
        score_threshold: float = 0.5,
        size_by: str = "longer_side",
        max_dets: int | None = None,
        area: str = "box",
        output_dir: str | Path | None = None,
    ) -> None:
        """
        Args:
            dataset: ground truth, as for :class:`SizedCOCOEvaluator`.
            size_ranges: size ranges; "all sizes" go from the first one's start to the last one's
                end.
            score_threshold: detections with a lower score do not count for recall, accuracy and F1.
            size_by: ``longer_side`` of the box, as in the benchmark's code, or ``sqrt_area``.
            max_dets: cap on detections, for AP only.
            area: ``box`` or ``annotation``, the source of object sizes, for AP only.
            output_dir: where the first rank writes ``sized_f1.json`` beside the files of
                :class:`SizedCOCOEvaluator`; None or "" writes nothing.
        """
        if size_by not in _SIZES:
            raise ValueError(f"size_by={size_by!r}: expected one of {', '.join(_SIZES)}")
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"score_threshold={score_threshold}: expected a score, 0 to 1")
        super().__init__(dataset, size_ranges, max_dets, area=area, output_dir=output_dir)
        self.score_threshold = score_threshold
        self._size_by = size_by
        # The benchmark's end, or that of papers with areas; COCO's ranges include both.
        self._ends = "lower" if size_by == "longer_side" else "upper"
        self._f1: dict | None = None

    def tables(self) -> str:
        """Tables of the last :meth:`evaluate` as text; the benchmark's come last."""
        return f"{super().tables()}\n\n{f1_tables(self._f1)}"

    def _more_metrics(self, found: dict) -> dict[str, float | None]:
        self._f1 = self._summarize(found)
        if self._output_dir is not None:
            with own_path(self._output_dir / SUMMARY_F1) as part:
                part.write_text(json.dumps(self._f1), encoding="utf-8")
        return flat_f1(self._f1)

    def _more_metric_objects(self) -> dict[str, int]:
        summary = self._summarize({})
        for row in (*summary["size_ranges"], *summary["classes"]):
            row |= {key: row["GT"] for key in row if key not in ("name", "label")}
        return flat_f1(summary)

    def _summarize(self, found: dict) -> dict:
        position = {image["id"]: k for k, image in enumerate(self._truth["images"])}
        objects, crowds = self._objects_of_truth(position)
        detections, scores = self._detections(found, position)
        pairs = candidate_pairs(objects, detections, IOU)
        labels = [boxes.group % len(self._classes) for boxes in (objects, detections)]

        ranges = [
            (self.size_ranges.limits[0][0], self.size_ranges.limits[-1][1]),
            *self.size_ranges.limits,
        ]
        inside = [
            (self._within(objects.size, *pair) & ~crowds, self._within(detections.size, *pair))
            for pair in ranges
        ]
        alive = _reach(scores, self.score_threshold)
        matched = match(pairs, alive)
        rows = [counts_row(count_size_range(*masks, matched, alive)) for masks in inside]
        sweep = []
        for threshold in THRESHOLDS:
            reach = _reach(scores, threshold)
            at_threshold = match(pairs, reach)
            sweep.append(
                [f1_score(count_size_range(*masks, at_threshold, reach)) for masks in inside]
            )
        for row, values in zip(rows, zip(*sweep, strict=True), strict=True):
            best = best_f1(values, THRESHOLDS) if row["GT"] else (None, None)
            row["best_F1"], row["best_score"] = best
        names = [
            ("all", "all"),
            *((name, self.size_ranges.label(name, self._ends)) for name in self.size_ranges.names),
        ]
        classes = []
        for k, name in enumerate(self._classes):
            masks = (mask & (label == k) for mask, label in zip(inside[0], labels, strict=True))
            classes.append({"name": name} | counts_row(count_size_range(*masks, matched, alive)))
        return {
            "iou": IOU,
            "score_threshold": self.score_threshold,
            "size_by": self._size_by,
            "size_ranges": [
                {"name": name, "label": label} | row
                for (name, label), row in zip(names, rows, strict=True)
            ],
            "classes": classes,
        }

    def _objects_of_truth(self, position: Mapping) -> tuple[Boxes, np.ndarray]:
        """All objects, and which of them are crowds."""
        truth = self._truth["annotations"]
        label = {category: k for k, category in enumerate(self._category_ids)}
        boxes = np.array([a["bbox"] for a in truth], dtype=np.float64)
        boxes[:, 2:] += boxes[:, :2]  # XYWH -> XYXY
        images = np.array([position[a["image_id"]] for a in truth])
        labels = np.array([label[a["category_id"]] for a in truth])
        crowds = np.array([bool(a["iscrowd"]) for a in truth])
        return self._boxes(boxes, images, labels), crowds

    def _detections(self, found: dict, position: Mapping) -> tuple[Boxes, np.ndarray]:
        """All detections in the order of the images, and their scores."""
        shown = sorted(found, key=position.__getitem__)
        parts = [found[image_id] for image_id in shown]
        number = [len(scores) for _, scores, _ in parts]
        images = np.repeat([position[image_id] for image_id in shown], number)
        boxes, scores, labels = (
            np.concatenate(columns) if columns else np.zeros(0)
            for columns in (zip(*parts, strict=True) if parts else ((), (), ()))
        )
        return self._boxes(boxes.reshape(-1, 4), images, labels), scores

    def _within(self, sizes: np.ndarray, low: float, high: float) -> np.ndarray:
        if self._ends == "lower":
            return (low <= sizes) & (sizes < high)
        return (low < sizes) & (sizes <= high)

    def _boxes(self, boxes: np.ndarray, images: np.ndarray, labels: np.ndarray) -> Boxes:
        sides = boxes[:, 2:] - boxes[:, :2]
        size = sides.max(1) if self._size_by == "longer_side" else np.sqrt(sides.prod(1))
        # One number for image and class, of which the remainder is the class.
        return Boxes(boxes, images * len(self._classes) + labels, size)


def _reach(scores: np.ndarray, threshold: float) -> np.ndarray:
    # In float32, as detectors give scores: 0.9 in float32 is less than 0.9 in float64.
    return scores.astype(np.float32) >= np.float32(threshold)
