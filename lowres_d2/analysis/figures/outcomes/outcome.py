"""Outcomes of an image's detections: hits, wrong classes, false alarms and misses.

A detection is a hit if it covers a free object of its class (IoU 0.5, highest score first), a wrong
class if it covers an object of another class, and a false alarm otherwise; an object without a hit
is a miss. Misses, wrong classes and false alarms are mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowres_d2.analysis.figures.detections import Objects, match

import numpy as np
import torch
from torchvision.ops import box_iou

IOU = 0.5


@dataclass(frozen=True)
class Outcome:
    """Outcome of the detections of one image on its N objects.

    Attributes:
        truth: the objects.
        found: the detections (M).
        hit: which objects were found (N,).
        right: which detections are hits (M,).
        wrong_class: which detections cover an object of another class, and are no hits (M,).
        misnamed: which objects those wrong-class detections cover (N,).
    """

    truth: Objects
    found: Objects
    hit: np.ndarray
    right: np.ndarray
    wrong_class: np.ndarray
    misnamed: np.ndarray

    @classmethod
    def of(cls, truth: Objects, found: Objects) -> Outcome:
        """Match detections with objects."""
        hit, right = match(truth, found, IOU)
        covers = box_iou(torch.from_numpy(found.boxes), torch.from_numpy(truth.boxes)).numpy()
        wrong = (covers >= IOU) & (found.labels[:, None] != truth.labels) & ~right[:, None]
        return cls(truth, found, hit, right, wrong.any(1), wrong.any(0))

    @property
    def misses(self) -> int:
        """Objects that were not found."""
        return int((~self.hit).sum())

    @property
    def mistakes(self) -> int:
        """Misses, and detections that are no hits."""
        return self.misses + int((~self.right).sum())

    def __str__(self) -> str:
        parts = [f"{self.hit.sum()} of {len(self.truth)} found"]
        wrong = int(self.wrong_class.sum())
        alarms = int((~self.right & ~self.wrong_class).sum())
        if wrong:
            parts.append(f"{wrong} wrong class{'es' * (wrong > 1)}")
        if alarms:
            parts.append(f"{alarms} false alarm{'s' * (alarms > 1)}")
        return ", ".join(parts)
