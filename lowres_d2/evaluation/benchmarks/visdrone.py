"""VisDrone-DET's metrics: 500 detections an image, ignored regions, other vehicles.

Paper: Zhu et al., "VisDrone-DET2018" (ECCV workshops 2018), and the documentation of its toolkit:
COCO's AP and recall, where detections in ignored regions or of other vehicles are not considered.
That is what ``AP`` and the metrics by size and class are here. The toolkit's code differs from it;
its numbers, which leaderboards have, are ``toolkit-AP`` and so on: see ``visdrone_toolkit.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lowres_d2.evaluation.benchmarks.visdrone_toolkit import (
    CAPS,
    Detected,
    DroneImage,
    outside_regions,
    toolkit_metrics,
)
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.evaluation.sized_coco import SizedCOCOEvaluator

import numpy as np

_TOOLKIT = ("AP", "AP50", "AP75", *(f"AR{cap}" for cap in CAPS))


class VisDroneEvaluator(SizedCOCOEvaluator):
    """AP of VisDrone's benchmark.

    ``evaluate()`` gives the metrics of :class:`SizedCOCOEvaluator` over at most 500 detections of
    an image, of all classes together. Objects and detections of which half lies in ignored regions
    are left out; with ``toolkit`` there are ``toolkit-AP``, ``toolkit-AP50``, ``toolkit-AP75``,
    ``toolkit-AR1``, ``-AR10``, ``-AR100`` and ``-AR500``, too.
    """

    def __init__(
        self,
        dataset: Sequence[dict],
        size_ranges: SizeRanges | str | Mapping | Sequence = "coco",
        max_dets: int = 500,
        toolkit: bool = True,
        output_dir: str | Path | None = None,
    ) -> None:
        """
        Args:
            dataset: a ``VisDroneDataset``, or images of one.
            size_ranges: size ranges.
            max_dets: cap on detections per image.
            toolkit: whether to report the numbers of the toolkit's own rules as well.
            output_dir: as for :class:`SizedCOCOEvaluator`.
        """
        self._drone_images = {record["image_id"]: _drone_image(record) for record in dataset}
        self._toolkit = toolkit
        super().__init__(dataset, size_ranges, max_dets, output_dir=output_dir)

    def _prepared(self, truth: dict) -> dict:
        annotations = [
            a
            for a, kept in zip(
                truth["annotations"], self._outside(truth["annotations"]), strict=True
            )
            if kept or a["iscrowd"]
        ]
        if all(a["iscrowd"] for a in annotations):
            raise ValueError("all objects of the test set lie in ignored regions")
        return truth | {"annotations": annotations}

    def _counted(self, detections: list[dict]) -> list[dict]:
        outside = self._outside(detections)
        detections = [d for d, kept in zip(detections, outside, strict=True) if kept]
        return list(_highest(detections, self.max_dets))

    def _outside(self, rows: Sequence[Mapping]) -> list[bool]:
        """Which rows, objects or detections, lie outside of ignored regions."""
        kept = np.ones(len(rows), dtype=bool)
        for image_id, places in _places(rows).items():
            boxes = np.array([rows[k]["bbox"] for k in places], dtype=np.float64)
            kept[places] = outside_regions(boxes, self._drone_images[image_id])
        return kept.tolist()

    def _more_metrics(self, found: dict) -> dict[str, float | None]:
        if not self._toolkit:
            return {}
        nothing = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=int))
        detected = []
        for image_id in self._drone_images:
            boxes, scores, labels = found.get(image_id, nothing)
            sides = boxes[:, 2:] - boxes[:, :2]
            detected.append(Detected(np.concatenate([boxes[:, :2], sides], 1), scores, labels))
        images = list(self._drone_images.values())
        metrics = toolkit_metrics(images, detected, len(self._classes))
        return {f"toolkit-{name}": value for name, value in metrics.items()}

    def _more_metric_objects(self) -> dict[str, int]:
        names = _TOOLKIT if self._toolkit else ()
        return {f"toolkit-{name}": len(self._objects) for name in names}


def _drone_image(record: Mapping) -> DroneImage:
    annotations = record["annotations"]
    regions = [a for a in annotations if a.get("region", False)]
    scored = [a for a in annotations if not a.get("of_every_class", False)]
    return DroneImage(
        record["height"],
        record["width"],
        _boxes(regions),
        _boxes(scored),
        np.array([a["category_id"] for a in scored], dtype=int),
        np.array([bool(a["iscrowd"]) for a in scored], dtype=bool),
    )


def _boxes(annotations: Sequence[Mapping]) -> np.ndarray:
    given = [a.get("unclipped_bbox", a["bbox"]) for a in annotations]
    return np.array(given, dtype=np.float64).reshape(-1, 4)


def _places(rows: Sequence[Mapping]) -> dict[object, list[int]]:
    """Indices of the rows of each image."""
    places: dict[object, list[int]] = {}
    for k, row in enumerate(rows):
        places.setdefault(row["image_id"], []).append(k)
    return places


def _highest(detections: Sequence[dict], most: int) -> Iterable[dict]:
    """Of each image the detections with the highest scores, of all classes together."""
    for places in _places(detections).values():
        for k in sorted(places, key=lambda k: -detections[k]["score"])[:most]:
            yield detections[k]
