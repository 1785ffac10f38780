"""The detections of an evaluation beside its ground truth, for curves, confusions, intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.evaluation.bootstrap import resampled_ap
from lowres_d2.evaluation.sized_coco import SUMMARY, GroundTruth, prepare_truth

import numpy as np


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation was computed from.

    Attributes:
        truth: a COCO dict of the scored objects.
        detections: COCO results, with the ids of ``truth``.
        category_ids: id of each class, in the order of the labels.
        max_dets: cap on detections per image and class.
    """

    truth: dict
    detections: Sequence[dict]
    category_ids: Sequence[int]
    max_dets: int

    @classmethod
    def read(cls, dataset: GroundTruth, predictions_file: str | Path) -> Evaluated:
        """From what an evaluator has written.

        Args:
            dataset: that it evaluated.
            predictions_file: its ``coco_instances_results.json``; ``sized_coco.json`` lies beside.
        """
        category_ids = list(dataset.category_ids)
        truth = prepare_truth(dataset, "box")
        path = Path(predictions_file)
        found = json.loads(path.read_text(encoding="utf-8"))
        summary = json.loads(path.with_name(SUMMARY).read_text(encoding="utf-8"))
        return cls(truth, found, category_ids, summary["max_dets"])

    @property
    def num_images(self) -> int:
        """Number of test images."""
        return len(self.truth["images"])

    def redrawn(self, draws: np.ndarray) -> np.ndarray:
        """AP on redraws of the images, see :func:`lowres_d2.evaluation.bootstrap.resampled_ap`."""
        return resampled_ap(self, draws)
