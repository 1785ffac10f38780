"""Detections of one image matched with its ground truth, for drawing.

Boxes are XYXY in pixels of the original image, float64 (N, 4); labels are contiguous class ids.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from detectron2.structures import BoxMode, Instances
from torchvision.ops import box_iou

NOTHING = np.zeros((0, 4))


@dataclass(frozen=True)
class Objects:
    """Objects of one image: ``boxes`` (N, 4), ``labels`` (N,), ``scores`` (N,)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[Sequence[float], int, float]]) -> Objects:
        """From rows (box, label, score); an empty list gives no objects."""
        boxes, labels, scores = zip(*rows, strict=True) if rows else (NOTHING, (), ())
        return cls(
            np.asarray(boxes, float), np.asarray(labels, np.int64), np.asarray(scores, float)
        )

    @classmethod
    def of(cls, found: Instances) -> Objects:
        """From a detector's ``Instances`` on the CPU."""
        return cls(
            found.pred_boxes.tensor.double().numpy(),
            found.pred_classes.numpy(),
            found.scores.double().numpy(),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: np.ndarray | Sequence[int]) -> Objects:
        return Objects(self.boxes[index], self.labels[index], self.scores[index])

    def sizes(self) -> np.ndarray:
        """Square root of each box's area, in pixels."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.sqrt(sides[:, 0] * sides[:, 1])


def true_objects(entry: Mapping) -> Objects:
    """Ground truth of a Detectron2 dataset dict, without crowds; none of one without boxes."""
    return Objects.from_rows(
        [
            (
                BoxMode.convert(list(a["bbox"]), a["bbox_mode"], BoxMode.XYXY_ABS),
                a["category_id"],
                1.0,
            )
            for a in entry.get("annotations", ())
            if not a.get("iscrowd", 0)
        ]
    )


def read_detections(file: str | Path, category_ids: Sequence[int]) -> dict[object, Objects]:
    """Detections by image from a file of COCO results.

    Args:
        file: ``coco_instances_results.json``.
        category_ids: COCO category id of each contiguous class id.
    """
    label = {category: k for k, category in enumerate(category_ids)}
    rows = defaultdict(list)
    for row in json.loads(Path(file).read_text(encoding="utf-8")):
        x, y, width, height = row["bbox"]
        box = (x, y, x + width, y + height)
        rows[row["image_id"]].append((box, label[row["category_id"]], row["score"]))
    return {image_id: Objects.from_rows(found) for image_id, found in rows.items()}


def match(truth: Objects, found: Objects, iou: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Match each detection, highest score first, to the free object of its class of highest IoU.

    Args:
        truth: N objects.
        found: M detections.
        iou: lowest IoU of a match.

    Returns:
        Whether each object was found (N,), and whether each detection found one (M,).
    """
    hit, right = np.zeros(len(truth), bool), np.zeros(len(found), bool)
    if not len(truth) or not len(found):
        return hit, right
    overlap = box_iou(torch.from_numpy(found.boxes), torch.from_numpy(truth.boxes)).numpy()
    overlap[found.labels[:, None] != truth.labels[None]] = 0
    for k in np.argsort(-found.scores, kind="stable"):
        free = np.where(hit, 0, overlap[k])
        best = int(free.argmax())
        if free[best] >= iou:
            hit[best] = right[k] = True
    return hit, right


def best_threshold(pairs: Iterable[tuple[Objects, Objects]]) -> float:
    """Score threshold with the highest F1: what a user would set, and fair between detectors.

    Args:
        pairs: ground truth and detections of each image.
    """
    pairs = list(pairs)
    objects = sum(len(truth) for truth, _ in pairs)
    scores = np.concatenate([found.scores for _, found in pairs])
    right = np.concatenate([match(truth, found)[1] for truth, found in pairs])
    if not right.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)  # 2 TP / (detections + objects)
    return float(scores[order[f1.argmax()]])
