"""COCO evaluation by object size.

Differs from COCO's own in three points, each of which silently distorts metrics on tiny objects
there: the size ranges are configurable, the cap on detections is chosen from the data, and a size
range without objects has no value (None), where COCO gives -1. Boxes are in pixels of the original
image.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.evaluation.bootstrap import images_with_objects, resampled_ap
from lowres_d2.evaluation.coco_engine import COCO_IOU_THRESHOLDS, BoxScores, score_boxes
from lowres_d2.evaluation.evaluated import Evaluated
from lowres_d2.evaluation.found_boxes import PREDICTIONS, FoundBoxes, GroundTruth
from lowres_d2.evaluation.lrp import (
    PARTS,
    OptimalLRP,
    add_olrp,
    flat_olrp,
    match_classes,
    optimal_lrp,
)
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.evaluation.summary import (
    SHORT_LISTS,
    curve_ranges,
    flat_metrics,
    metric_objects,
    summarize,
)
from lowres_d2.evaluation.tables import summary_tables
from lowres_d2.own_files import own_path

import numpy as np

SUMMARY = "sized_coco.json"  # the file of all metrics
_MOST_LARGER = 0.01  # share of the annotations, with area="annotation"
LEAST_MAX_DETS = 100  # COCO's own cap, so that sparse data gives COCO's metrics
OLRP_IOU = 0.5  # from which detections are matched, as in AI-TOD's tables

logger = logging.getLogger(__name__)


class SizedCOCOEvaluator(FoundBoxes):
    """Box AP and recall: overall, by object size, and by class.

    ``evaluate()`` returns ``{"bbox": ...}`` in percent: ``AP``, ``AP50``, ``AP75``, ``AR1``,
    ``AR10``, ``AR`` (at the cap); ``AP-x``, ``AP50-x``, ``AR-x`` and the number of objects ``GT-x``
    for each size range x; ``AP-c`` for each class c; ``GT-all`` and ``max-dets``. Metrics without
    ground truth are None. With ``olrp`` it has ``oLRP``, of which 0 is best, too: errors of
    localisation (``oLRP_loc``), false positives (``oLRP_FP``) and misses (``oLRP_FN``) make it up,
    see ``lowres_d2/evaluation/lrp``; and ``oLRP-c`` for each class c. Of a test set with pseudo
    labels (its ``labelled_by`` is not empty) they are the agreement with the detector that made
    these, which ``sized_coco.json`` and the tables say. Ranks other than the first return an empty
    dict. ``densest`` is the largest number of objects on an image.
    """

    main_metric = "bbox/AP"
    columns = ("AP", "AP50")
    predictions = PREDICTIONS

    def __init__(
        self,
        dataset: GroundTruth,
        size_ranges: SizeRanges | str | Mapping | Sequence = "coco",
        max_dets: int | None = None,
        iou_thresholds: Sequence[float] | None = None,
        area: str = "box",
        output_dir: str | Path | None = None,
        olrp: bool = False,
    ) -> None:
        """
        Args:
            dataset: gives ``coco_dict()``, ``category_ids`` (contiguous class to id in the file)
                and ``classes``.
            size_ranges: size ranges, see :meth:`SizeRanges.from_config`.
            max_dets: cap on detections per image and class. None takes 1.5 times the objects of
                the densest image, at least 100. A benchmark's own cap, such as AI-TOD's 1500, may
                be less than the objects of the densest image: a warning says so.
            iou_thresholds: None takes COCO's ten from 0.5 to 0.95.
            area: ``box`` sizes objects by their box; ``annotation`` by the ``area`` of the file, as
                COCO does (there it is the area of the mask).
            output_dir: where the first rank writes ``coco_instances_results.json`` (detections) and
                ``sized_coco.json`` (all metrics); None or "" writes nothing.
            olrp: whether to report oLRP.
        """
        self.size_ranges = SizeRanges.from_config(size_ranges)
        self.iou_thresholds = tuple(sorted(iou_thresholds or COCO_IOU_THRESHOLDS))
        self._classes = list(dataset.classes)
        self._check_names()
        self._truth = self._prepared(prepare_truth(dataset, area))
        super().__init__(self._truth["images"], dataset.category_ids)
        self._objects = [a for a in self._truth["annotations"] if not a["iscrowd"]]
        self._area = area
        self._olrp = olrp
        self._labelled_by = getattr(dataset, "labelled_by", "")
        self.max_dets = self._choose_max_dets(max_dets)
        self._output_dir = Path(output_dir) if output_dir else None
        self._summary: dict | None = None

    def evaluate(self) -> dict[str, dict[str, float | None]]:
        """Compute the metrics of the detections so far; the class says which."""
        found = self.gathered()
        if found is None:
            return {}
        self._warn_if_capped(found)
        detections = self.as_results(found)
        sizes = curve_ranges([a["area"] for a in self._objects])
        areas = [self._overall(), *self.size_ranges.areas(), *sizes.areas()]
        caps = {min(cap, self.max_dets) for cap in (*SHORT_LISTS, self.max_dets)}
        counted = self._counted(detections)
        scores = self._score(counted, areas, sorted(caps))
        classes = dict(zip(self._category_ids, self._classes, strict=True))
        self._summary = {
            "images": len(self._truth["images"]),
            "max_dets": self.max_dets,
            "area": self._area,
            "labelled_by": self._labelled_by,
            **summarize(scores, self._objects, self.size_ranges, sizes, classes),
        }
        if self._olrp:
            add_olrp(self._summary, self._olrp_of_classes(counted))
        self._write(detections)
        metrics = flat_metrics(self._summary) | flat_olrp(self._summary)
        metrics |= {"max-dets": self.max_dets}
        return {"bbox": metrics | self._more_metrics(found)}

    def tables(self) -> str:
        """Tables of the last :meth:`evaluate` as text: size ranges, classes, recall by size."""
        if self._summary is None:
            raise RuntimeError("SizedCOCOEvaluator.tables(): call evaluate() first (on rank 0)")
        return summary_tables(self._summary)

    def metric_objects(self) -> dict[str, int]:
        """All metrics of :meth:`evaluate`, known before it.

        Returns:
            By name, as ``bbox/AP``, the number of objects that a metric is measured on: with 0 it
            is None.
        """
        classes = dict(zip(self._category_ids, self._classes, strict=True))
        known = metric_objects(self._objects, self.size_ranges, classes, self.iou_thresholds)
        if self._olrp:
            counts = Counter(a["category_id"] for a in self._objects)
            known |= dict.fromkeys(PARTS, len(self._objects))
            known |= {f"oLRP-{name}": counts[category] for category, name in classes.items()}
        known |= {"max-dets": len(self._objects)} | self._more_metric_objects()
        return {f"bbox/{name}": count for name, count in known.items()}

    def read(self, predictions_file: str | Path) -> Evaluated:
        """The detections of an evaluation, as they count here.

        Args:
            predictions_file: its ``coco_instances_results.json``.
        """
        detections = self._counted(json.loads(Path(predictions_file).read_text(encoding="utf-8")))
        return Evaluated(
            self._truth,
            detections,
            self._category_ids,
            self.max_dets,
            self.redrawn,
            self.redrawn_images(),
        )

    def redrawn(self, detections: Sequence[dict], draws: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics of :meth:`evaluate` on redraws of the images, with which models are compared.

        Args:
            detections: COCO results that count.
            draws: (B, images): indices of images in the order of their ids.

        Returns:
            By name (1 + B,) in percent, first that of the whole set; NaN without an object.
        """
        return {"AP": self._redrawn_ap(detections, draws, self.iou_thresholds)}

    def redrawn_images(self) -> dict[str, int]:
        """Number of images that have objects, for each metric of :meth:`redrawn`."""
        return {"AP": images_with_objects(self._truth, self._overall())}

    @staticmethod
    def is_error(name: str) -> bool:
        """Whether a metric of :meth:`metric_objects` is an error, the lower the better."""
        return name.startswith("bbox/oLRP")

    def _prepared(self, truth: dict) -> dict:
        """The ground truth that :func:`prepare_truth` gives, as a subclass changes it."""
        return truth

    def _overall(self) -> tuple[float, float]:
        """The range of area of the metrics over all sizes."""
        return 0.0, math.inf

    def _counted(self, detections: list[dict]) -> list[dict]:
        """The detections that count, whatever their size."""
        return detections

    def _redrawn_ap(
        self, detections: Sequence[dict], draws: np.ndarray, iou_thresholds: Sequence[float]
    ) -> np.ndarray:
        return resampled_ap(
            self._truth, detections, self.max_dets, draws, iou_thresholds, self._overall()
        )

    def _score(
        self, detections: list[dict], areas: list[tuple[float, float]], caps: list[int]
    ) -> BoxScores:
        """Precision and recall of results that count, in the ranges of area, at the caps."""
        return score_boxes(self._truth, detections, areas, caps, self.iou_thresholds)

    def _more_metric_objects(self) -> dict[str, int]:
        """As :meth:`metric_objects`, of the metrics that a subclass adds."""
        return {}

    def _more_metrics(self, found: dict) -> dict[str, float | None]:
        """Further metrics of a subclass, from the boxes, scores and classes found in each image."""
        return {}

    def _olrp_of_classes(self, detections: list[dict]) -> list[OptimalLRP]:
        matched = match_classes(self._truth, detections, self.max_dets, OLRP_IOU)
        return [optimal_lrp(matched[category], OLRP_IOU) for category in self._category_ids]

    def _check_names(self) -> None:
        both = sorted(set(self._classes) & set(self.size_ranges.names))
        if both:
            raise ValueError(
                f"size range {both[0]!r} has the name of a class, their metrics would be mixed up: "
                "give the size ranges other names (size_ranges={name: [low, high], ...})"
            )

    def _choose_max_dets(self, wished: int | None) -> int:
        # Objects of all classes, while maxDets counts per class: on the safe side.
        per_image = Counter(a["image_id"] for a in self._objects)
        densest = self.densest = max(per_image.values())
        if wished is None:
            # More than the objects, since false positives take places, too.
            chosen = max(LEAST_MAX_DETS, math.ceil(1.5 * densest))
            logger.debug("maxDets %d (the densest image has %d objects)", chosen, densest)
            return chosen
        if wished < 1:
            raise ValueError(f"max_dets={wished}: expected 1 or more, or none")
        if wished < densest:
            image_id = per_image.most_common(1)[0][0]
            logger.warning(
                "max_dets=%d, but image %s has %d objects, which can never all be found: right if "
                "the benchmark has this cap, otherwise leave max_dets out, or raise it",
                wished,
                image_id,
                densest,
            )
        return wished

    def _warn_if_capped(self, found: dict) -> None:
        most = max((len(scores) for _, scores, _ in found.values()), default=0)
        at_most = sum(len(scores) == most for _, scores, _ in found.values())
        # Several images with exactly the largest number: that looks like a cap. None at all does
        # not: a model finds nothing before it has learned anything.
        if 0 < most < self.densest and at_most > 1:
            logger.warning(
                "no image has more than %d detections, but the densest has %d objects: raise the "
                "model's own cap (max_detections_per_image, test_topk_per_image)",
                most,
                self.densest,
            )

    def _write(self, detections: list[dict]) -> None:
        if self._output_dir is None:
            return
        files = {PREDICTIONS: detections, SUMMARY: self._summary}
        for name, content in files.items():
            with own_path(self._output_dir / name) as part:
                part.write_text(json.dumps(content), encoding="utf-8")


def _check_areas(objects: Sequence[Mapping]) -> None:
    """Raise if many areas are larger than the boxes, which no mask is: sizes would mean nothing."""
    # One pixel in width and height: some tools count both border pixels.
    larger = sum(a["area"] > (a["bbox"][2] + 1) * (a["bbox"][3] + 1) for a in objects)
    if larger > _MOST_LARGER * len(objects):
        raise ValueError(
            f"'area' of {larger} of {len(objects)} annotations is larger than their box, so that "
            "objects would count in a wrong size range: use area='box', or correct the file"
        )


def prepare_truth(dataset: GroundTruth, area: str) -> dict:
    """The scored parts of the ground truth, with ``area`` as the option of that name says."""
    if area not in ("box", "annotation"):
        raise ValueError(f"area={area!r}: expected 'box' or 'annotation'")
    coco, category_ids = dataset.coco_dict(), list(dataset.category_ids)
    source = getattr(dataset, "source", "the test set")
    wanted = set(category_ids)
    objects = []
    for annotation in coco["annotations"]:
        if annotation["category_id"] not in wanted:
            continue
        _, _, width, height = annotation["bbox"]
        if area == "annotation" and "area" not in annotation:
            raise ValueError(
                f"annotation {annotation.get('id')} has no 'area': use area='box' to measure sizes "
                "by the boxes"
            )
        objects.append(
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "bbox": annotation["bbox"],
                "area": width * height if area == "box" else annotation["area"],
                "iscrowd": int(annotation.get("iscrowd", 0)),
            }
        )
    _check_areas(objects)
    if not any(not a["iscrowd"] for a in objects):
        raise ValueError(
            f"{source}: has no objects to find, so nothing can be evaluated: give a test set with "
            "labels; the detections of one without are written by --eval-only"
        )
    return {
        "images": [{"id": image["id"]} for image in coco["images"]],
        "categories": [{"id": category} for category in category_ids],
        "annotations": objects,
    }
