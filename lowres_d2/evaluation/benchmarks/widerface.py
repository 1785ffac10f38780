"""WiderFace's metrics: AP of easy, medium and hard faces.

Source: the benchmark's evaluation tools (MATLAB, on its page), and their usual translation,
github.com/wondervictor/WiderFace-Evaluation, whose numbers these are; paper: Yang et al., "WIDER
FACE: A Face Detection Benchmark" (CVPR 2016).

1. Scores are scaled so that the lowest of all is 0 and the highest 1.
2. A detection belongs to the face with which it has the highest IoU, at 0.5 or more; pixels are
   counted with both ends, so that sides are 1 longer. If that face is not of the subset, the
   detection counts neither as hit nor as miss. A second detection of a face is a miss.
3. The curve has a point at each of 1000 scores, from 0.999 to 0; AP is the area under all points
   of it. ``thresholds=None`` takes a point at every detection in their place, as Pascal VOC, which
   the paper follows, does.
4. Images without an annotated box are left out with what is found in them.

Detections of an image are all that the detector gives; the benchmark has no cap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.data.datasets.widerface import SUBSETS, FaceSubset, read_wider_subsets
from lowres_d2.evaluation.benchmarks.all_points import all_points_ap
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.evaluation.sized_coco import SizedCOCOEvaluator

import numpy as np

THRESHOLDS = 1000
_IOU = 0.5


class WiderFaceEvaluator(SizedCOCOEvaluator):
    """AP of WiderFace's benchmark, with COCO's metrics by size.

    ``evaluate()`` adds ``easy``, ``medium`` and ``hard`` in percent to the metrics of
    :class:`SizedCOCOEvaluator`; None where the images have no face of a subset.
    """

    main_metric = "bbox/AP50"
    columns = ("AP50", *SUBSETS)

    def __init__(
        self,
        dataset: Sequence[dict],
        ground_truth: str | Path,
        size_ranges: SizeRanges | str | Mapping | Sequence = "coco",
        max_dets: int | None = None,
        thresholds: int | None = THRESHOLDS,
        output_dir: str | Path | None = None,
    ) -> None:
        """
        Args:
            dataset: the validation set, or images of it.
            ground_truth: folder with the benchmark's ``wider_easy_val.mat``,
                ``wider_medium_val.mat`` and ``wider_hard_val.mat``.
            size_ranges: size ranges.
            max_dets: cap on detections, for COCO's metrics only.
            thresholds: number of scores at which precision and recall are measured; None: all.
            output_dir: as for :class:`SizedCOCOEvaluator`.

        Raises:
            ValueError: an image is not in these files.
        """
        if thresholds is not None and thresholds < 1:
            raise ValueError(f"thresholds={thresholds}: expected 1 or more, or none")
        names = {r["image_id"]: _name(r["file_name"]) for r in dataset}
        subsets = read_wider_subsets(ground_truth)
        self._thresholds = thresholds
        self._faces: dict[str, dict] = {}
        for subset, faces in subsets.items():
            for name in names.values():
                if name not in faces:
                    raise ValueError(
                        f"{ground_truth}: has no image {name}; the benchmark is about the images "
                        "of WIDER_val"
                    )
            self._faces[subset] = {image_id: faces[name] for image_id, name in names.items()}
        super().__init__(dataset, size_ranges, max_dets, output_dir=output_dir)

    def redrawn(self, detections: Sequence[dict], draws: np.ndarray) -> dict[str, np.ndarray]:
        """``AP50``, easy, medium and hard, as :meth:`SizedCOCOEvaluator.redrawn`."""
        rows: dict[object, list[dict]] = {image["id"]: [] for image in self._truth["images"]}
        for row in detections:
            rows[row["image_id"]].append(row)
        ids, found, ends = sorted(rows), {}, []
        for image_id in ids:
            boxes = np.array([row["bbox"] for row in rows[image_id]]).reshape(-1, 4)
            scores = np.array([row["score"] for row in rows[image_id]])
            boxes[:, 2:] += boxes[:, :2]  # XYWH -> XYXY
            found[image_id] = boxes, scores
            ends.append((scores.min(initial=np.inf), scores.max(initial=-np.inf)))
        low, high = np.array(ends).T
        metrics = {"AP50": self._redrawn_ap(detections, draws, [_IOU])}
        for subset, faces in self._faces.items():
            curve = SubsetCurve({image_id: faces[image_id] for image_id in ids}, found)
            aps = [
                curve.ap(
                    np.bincount(draw, minlength=len(ids)),
                    (low[draw].min(), high[draw].max()),
                    self._thresholds,
                )
                for draw in (np.arange(len(ids)), *draws)
            ]
            metrics[subset] = np.array([np.nan if ap is None else ap for ap in aps])
        return metrics

    def redrawn_images(self) -> dict[str, int]:
        """As :meth:`SizedCOCOEvaluator.redrawn_images`."""
        overall = super().redrawn_images()["AP"]
        return {"AP50": overall} | {
            subset: sum(bool(face.chosen.any()) for face in faces.values())
            for subset, faces in self._faces.items()
        }

    def _more_metrics(self, found: dict) -> dict[str, float | None]:
        scores = np.concatenate([s for _, s, _ in found.values()]) if found else np.zeros(0)
        ends = (scores.min(), scores.max()) if len(scores) else (0.0, 1.0)
        given = {image_id: (boxes, own) for image_id, (boxes, own, _) in found.items()}
        return {
            subset: SubsetCurve(faces, given).ap(
                np.ones(len(faces), dtype=int), ends, self._thresholds
            )
            for subset, faces in self._faces.items()
        }

    def _more_metric_objects(self) -> dict[str, int]:
        return {
            subset: sum(int(face.chosen.sum()) for face in faces.values())
            for subset, faces in self._faces.items()
        }


def subset_ap(
    faces: Mapping[object, FaceSubset],
    found: Mapping[object, tuple[np.ndarray, np.ndarray]],
    thresholds: int | None = THRESHOLDS,
) -> float | None:
    """AP of a subset in percent; None without a face of it.

    Args:
        faces: by image.
        found: boxes (n, 4) XYXY and scores (n,) between 0 and 1, by image.
        thresholds: number of scores at which the curve has a point; None: all.
    """
    return SubsetCurve(faces, found).ap(np.ones(len(faces), dtype=int), (0.0, 1.0), thresholds)


class SubsetCurve:
    """The detections of a subset, matched once for any choice of its images.

    Args:
        faces: by image.
        found: boxes (n, 4) XYXY and scores (n,), by image.
    """

    def __init__(
        self,
        faces: Mapping[object, FaceSubset],
        found: Mapping[object, tuple[np.ndarray, np.ndarray]],
    ) -> None:
        self._faces = np.array([int(face.chosen.sum()) for face in faces.values()])
        place = {image_id: k for k, image_id in enumerate(faces)}
        marked = [
            (*_marked(faces[image_id], *own), np.full(len(own[1]), place[image_id]))
            for image_id, own in found.items()
            if len(faces[image_id].boxes) and len(own[1])
        ]
        nothing = (np.zeros(0), np.zeros(0, bool), np.zeros(0, bool), np.zeros(0, int))
        columns = [np.concatenate(column) for column in zip(nothing, *marked, strict=True)]
        order = np.argsort(-columns[0], kind="stable")
        self._scores, self._counts, self._hits, self._image = (c[order] for c in columns)

    def ap(
        self, times: np.ndarray, ends: tuple[float, float], thresholds: int | None
    ) -> float | None:
        """AP in percent; None without a face.

        Args:
            times: how often each image is in the test set.
            ends: scores that are scaled to 0 and 1.
            thresholds: as for :func:`subset_ap`.
        """
        total = int(times @ self._faces)
        if not total:
            return None
        weights = times[self._image]
        counts, hits = (
            np.concatenate([[0], (weights * mark).cumsum()]) for mark in (self._counts, self._hits)
        )
        if thresholds is None:
            reached = np.arange(1, len(weights) + 1)
        else:
            least = 1 - np.arange(1, thresholds + 1) / thresholds
            reached = np.searchsorted(-_scaled(self._scores, *ends), -least, side="right")
        precision = hits[reached] / np.maximum(counts[reached], 1)
        return 100 * all_points_ap(hits[reached] / total, precision)


def _scaled(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    return (scores - low) / (high - low) if high > low else np.ones(len(scores))


def _marked(
    face: FaceSubset, boxes: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores in descending order, which detections count, and which of these are hits."""
    order = np.argsort(-scores, kind="stable")
    overlap = _overlaps(boxes[order], face.boxes)
    best = overlap.argmax(axis=1)
    on_face = overlap[np.arange(len(best)), best] >= _IOU
    chosen = face.chosen[best]
    hits = np.zeros(len(best), dtype=bool)
    candidates = np.flatnonzero(on_face & chosen)
    # The first detection of each face.
    hits[candidates[np.unique(best[candidates], return_index=True)[1]]] = True
    return scores[order], ~(on_face & ~chosen), hits


def _overlaps(boxes: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(n, m) IoU of boxes XYXY with faces XYWH, pixels counted with both ends."""
    low, high = faces[:, :2], faces[:, :2] + faces[:, 2:]
    sides = np.minimum(boxes[:, None, 2:], high) - np.maximum(boxes[:, None, :2], low) + 1
    shared = sides.clip(0).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)[:, None] + (faces[:, 2:] + 1).prod(1)
    return shared / (areas - shared)


def _name(file_name: str) -> str:
    path = Path(file_name)
    return f"{path.parent.name}/{path.stem}"
