"""TinyPerson's metrics: AP at IoU 0.25, 0.5 and 0.75, of tiny, tiny1, tiny2, tiny3, small and all.

Source: the evaluator in github.com/ucas-vg/TinyBenchmark (``evaluate_tiny.py`` and its changes to
pycocotools), whose numbers these are; paper: Yu et al., "Scale Match for Tiny Person Detection"
(WACV 2020). It differs from COCO's evaluation in this:

1. A detection that matches no object counts neither as hit nor as miss if the share of *its own*
   area that lies in an ignored box reaches the threshold. COCO has this rule for crowds; here it
   holds for objects outside of the size range as well, so that what is found in a larger person,
   or a second time, does not count against smaller ones.
2. At most 200 detections an image. Images are whole ones: detections of tiles are merged before.
3. Size ranges start at 1 px, and smaller objects are in no metric; papers say 2 px, which is
   ``size_ranges="tinyperson-2"``.

Sizes are those of the boxes, as the file's ``area`` is. The finer sizes of the tables, which the
benchmark does not have, are by COCO's rules, in one pass for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.evaluation.bootstrap import images_with_objects, resampled_ap
from lowres_d2.evaluation.coco_engine import BoxScores, score_boxes
from lowres_d2.evaluation.found_boxes import GroundTruth
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.evaluation.sized_coco import SizedCOCOEvaluator

import numpy as np

TINYPERSON_IOU_THRESHOLDS = (0.25, 0.5, 0.75)
_TINY = "tiny"  # the range that papers compare
_SIZED = ("AP25", "AP75")  # of size ranges, beside AP50


class TinyPersonEvaluator(SizedCOCOEvaluator):
    """AP of TinyPerson's benchmark.

    ``evaluate()`` gives the metrics of :class:`SizedCOCOEvaluator` by the rules of this module, and
    ``AP25-x`` and ``AP75-x`` of each size range x. ``AP`` is the mean of the three thresholds; the
    benchmark's tables have ``AP50`` by size, ``AP25-tiny`` and ``AP75-tiny``.
    """

    main_metric = "bbox/AP50"
    columns = ("AP50", "AP25", "AP75")

    def __init__(
        self,
        dataset: GroundTruth,
        size_ranges: SizeRanges | str | Mapping | Sequence = "tinyperson",
        max_dets: int | None = 200,
        output_dir: str | Path | None = None,
    ) -> None:
        """
        Args:
            dataset: whole images, as for :class:`SizedCOCOEvaluator`.
            size_ranges: size ranges; objects under the lowest of their ends are ignored.
            max_dets: cap on detections per image and class.
            output_dir: as for :class:`SizedCOCOEvaluator`.
        """
        super().__init__(
            dataset, size_ranges, max_dets, TINYPERSON_IOU_THRESHOLDS, output_dir=output_dir
        )

    def redrawn(self, detections: Sequence[dict], draws: np.ndarray) -> dict[str, np.ndarray]:
        """``AP50`` and that of the tiny objects, as :meth:`SizedCOCOEvaluator.redrawn`."""
        return {
            name: resampled_ap(
                self._truth, detections, self.max_dets, draws, [0.5], area, outside_is_crowd=True
            )
            for name, area in self._redrawn_areas().items()
        }

    def redrawn_images(self) -> dict[str, int]:
        """As :meth:`SizedCOCOEvaluator.redrawn_images`."""
        areas = self._redrawn_areas()
        return {name: images_with_objects(self._truth, area) for name, area in areas.items()}

    def _redrawn_areas(self) -> dict[str, tuple[float, float]]:
        """Range of area of each metric of :meth:`redrawn`."""
        ranges = zip(self.size_ranges.names, self.size_ranges.areas(), strict=True)
        tiny = {f"AP50-{name}": area for name, area in ranges if name == _TINY}
        return {"AP50": self._overall()} | tiny

    def _overall(self) -> tuple[float, float]:
        return min(low for low, _ in self.size_ranges.limits) ** 2, math.inf

    def _prepared(self, truth: dict) -> dict:
        annotations = _ignored_outside(truth["annotations"], self._overall())
        if all(a["iscrowd"] for a in annotations):
            low = self._overall()[0] ** 0.5
            raise ValueError(f"no object of the test set has {low:g} px or more: lower size_ranges")
        return truth | {"annotations": annotations}

    def _score(
        self, detections: list[dict], areas: list[tuple[float, float]], caps: list[int]
    ) -> BoxScores:
        of_benchmark = 1 + len(self.size_ranges.names)
        return score_boxes(
            self._truth, detections, areas, caps, self.iou_thresholds, outside_is_crowd=of_benchmark
        )

    def _more_metrics(self, found: dict) -> dict[str, float | None]:
        rows = self._summary["size_ranges"]
        return {f"{key}-{row['name']}": row[key] for row in rows for key in _SIZED}

    def _more_metric_objects(self) -> dict[str, int]:
        counts = self.size_ranges.counts(a["area"] for a in self._objects)
        named = zip(self.size_ranges.names, counts, strict=True)
        return {f"{key}-{name}": count for name, count in named for key in _SIZED}


def _ignored_outside(annotations: Sequence[dict], area: tuple[float, float]) -> list[dict]:
    low, high = area
    return [
        a if a["iscrowd"] or low <= a["area"] <= high else a | {"iscrowd": 1} for a in annotations
    ]
