"""Turns arrays of scores into named metrics: overall, by size range, by class, by finer sizes.

A row is a dict with ``name``, ``GT`` (number of objects), ``AP``, ``AP25``, ``AP50`` and ``AP75``
(of the thresholds that are evaluated), ``AR`` and ``recall50``, in percent, None where there is no
ground truth; size ranges have ``label`` too, ``low`` and ``high`` in pixels of the original image
(high is None where there is no upper end).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from lowres_d2.evaluation.coco_engine import BoxScores, has_iou
from lowres_d2.evaluation.size_ranges import SizeRanges

# Finer than the presets, for the curve over object size; sizes double every two edges.
CURVE_EDGES = (0, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, math.inf)
SHORT_LISTS = (1, 10)  # recall is also reported at so few detections per image, as in COCO
_ROW_IOUS = (0.25, 0.5, 0.75)  # thresholds that a row has an AP for


def curve_ranges(areas: Sequence[float]) -> SizeRanges:
    """The fine size ranges with at least one object, given the objects' areas in square pixels."""
    fine = SizeRanges.from_config(list(CURVE_EDGES))
    rows = zip(fine.names, fine.limits, fine.counts(areas), strict=True)
    return SizeRanges.from_config({name: pair for name, pair, count in rows if count})


def summarize(
    scores: BoxScores,
    objects: Sequence[Mapping],
    size_ranges: SizeRanges,
    sizes: SizeRanges,
    classes: Mapping[int, str],
) -> dict:
    """All metrics of an evaluation, ready for a json file.

    Args:
        scores: with the ranges of area in the order: all, `size_ranges`, `sizes`.
        objects: ground truth without crowds: ``area`` and ``category_id`` of each object.
        size_ranges: the recipe's size ranges.
        sizes: the fine size ranges of the curve.
        classes: category id in the file to name, in the order of the classes.

    Returns:
        ``all`` (a row), ``size_ranges``, ``classes`` and ``sizes`` (rows each), ``short`` (recall
        with few detections).
    """
    areas = [annotation["area"] for annotation in objects]
    per_class = Counter(annotation["category_id"] for annotation in objects)
    # score_boxes orders categories by id; a recipe may list its classes in any order.
    axis = {category: k for k, category in enumerate(sorted(classes))}
    return {
        "all": _row(scores, "all", len(objects), 0),
        "size_ranges": _size_range_rows(scores, size_ranges, areas, first=1),
        "classes": [
            _row(scores, name, per_class[category], 0, axis[category])
            for category, name in classes.items()
        ],
        "sizes": _size_range_rows(scores, sizes, areas, first=1 + len(size_ranges.names)),
        "short": {
            f"AR{cap}": _percent(scores.recall_at(0, max_dets=min(cap, scores.max_dets[-1])))
            for cap in SHORT_LISTS
        },
    }


def flat_metrics(summary: Mapping) -> dict[str, float | None]:
    """The metrics of a summary as a flat dict, as Detectron2 expects them."""
    # AP, AP50, AP75 and AR.
    metrics = {key: value for key, value in summary["all"].items() if key.startswith("A")}
    metrics |= summary["short"]
    for row in summary["size_ranges"]:
        shown = [key for key in ("AP", "AP50", "AR", "GT") if key in row]
        metrics |= {f"{key}-{row['name']}": row[key] for key in shown}
    metrics |= {f"AP-{row['name']}": row["AP"] for row in summary["classes"]}
    return metrics | {"GT-all": summary["all"]["GT"]}


def metric_objects(
    objects: Sequence[Mapping],
    size_ranges: SizeRanges,
    classes: Mapping[int, str],
    iou_thresholds: Sequence[float],
) -> dict[str, int]:
    """The names of all metrics that an evaluation will have, known before it.

    Args:
        objects: as :func:`summarize` takes them, like the next two.
        size_ranges: the recipe's size ranges.
        classes: category id in the file to name.
        iou_thresholds: the thresholds that are evaluated.

    Returns:
        By name the number of objects that the metric is measured on: with 0 it has no value.
    """
    ious = [f"AP{100 * iou:.0f}" for iou in _ROW_IOUS if has_iou(iou, iou_thresholds)]

    def row(name: str, count: int) -> dict:
        return {"name": name} | dict.fromkeys(("GT", "AP", *ious, "AR"), count)

    per_class = Counter(annotation["category_id"] for annotation in objects)
    counts = size_ranges.counts(annotation["area"] for annotation in objects)
    return flat_metrics(
        {
            "all": row("all", len(objects)),
            "size_ranges": [row(*pair) for pair in zip(size_ranges.names, counts, strict=True)],
            "classes": [row(name, per_class[category]) for category, name in classes.items()],
            "short": {f"AR{cap}": len(objects) for cap in SHORT_LISTS},
        }
    )


def _size_range_rows(
    scores: BoxScores, size_ranges: SizeRanges, areas: Sequence[float], first: int
) -> list[dict]:
    return [
        _row(scores, name, count, first + k)
        # JSON has no infinity.
        | {"label": size_ranges.label(name), "low": low, "high": None if high == math.inf else high}
        for k, (name, (low, high), count) in enumerate(
            zip(size_ranges.names, size_ranges.limits, size_ranges.counts(areas), strict=True)
        )
    ]


def _row(
    scores: BoxScores, name: str, objects: int, area: int, category: int | None = None
) -> dict:
    row = {"name": name, "GT": objects, "AP": _percent(scores.ap(area, None, category))}
    for iou in _ROW_IOUS:
        if has_iou(iou, scores.iou_thresholds):
            row[f"AP{iou * 100:.0f}"] = _percent(scores.ap(area, iou, category))
    row["AR"] = _percent(scores.recall_at(area, None, category))
    if has_iou(0.5, scores.iou_thresholds):
        row["recall50"] = _percent(scores.recall_at(area, 0.5, category))
    return row


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
