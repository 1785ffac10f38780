"""The detections of an evaluation beside its ground truth, for curves, confusions, intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lowres_d2.evaluation.bootstrap import images_with_objects

import numpy as np


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation was computed from: ``SizedCOCOEvaluator.read`` gives it.

    Attributes:
        truth: a COCO dict of the scored objects.
        detections: COCO results that count, with the ids of ``truth``.
        category_ids: id of each class, in the order of the labels.
        max_dets: cap on detections per image and class.
        redraw: the evaluator's metrics on redraws of the images, see :meth:`redrawn`.
        with_objects: for each of these metrics the number of images that have objects for it;
            for one that is not there it is that of all objects.
    """

    truth: dict
    detections: Sequence[dict]
    category_ids: Sequence[int]
    max_dets: int
    redraw: Callable[[Sequence[dict], np.ndarray], Mapping[str, np.ndarray]]
    with_objects: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_images(self) -> int:
        """Number of test images."""
        return len(self.truth["images"])

    def redrawn(self, draws: np.ndarray) -> Mapping[str, np.ndarray]:
        """Metrics in percent, (1 + B,) each, of the whole set and of B redraws of its images.

        Args:
            draws: (B, images): indices of images in the order of their ids.
        """
        return self.redraw(self.detections, draws)

    def informative_images(self, metric: str) -> int:
        """Number of test images that have objects for a metric of :meth:`redrawn`."""
        known = self.with_objects.get(metric)
        return images_with_objects(self.truth) if known is None else known
