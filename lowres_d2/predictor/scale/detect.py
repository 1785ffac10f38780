"""The unit of work: a dict of arrays in, a dict of arrays out; it keeps nothing between calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from lowres_d2.predictor.predictor import Predictor
from lowres_d2.predictor.scale.batches import Batch

import numpy as np
import torch
from detectron2.structures import Instances

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes, scores and labels of an image
_NOTHING = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
NOT_FINITE = "the model gives boxes or scores that are NaN or infinite"


class Detect:
    """Detects on batches of images of one shape.

    Args:
        load: gives the predictor, at the first call.
        score: detections of lower scores are left out.
    """

    def __init__(self, load: Callable[[], Predictor], score: float) -> None:
        self.load, self.score = load, score

    @cached_property
    def predictor(self) -> Predictor:
        """The model, loaded once in each process."""
        return self.load()

    def __call__(self, batch: Batch) -> Batch:
        """What is on the images of a batch.

        Args:
            batch: see :mod:`lowres_d2.predictor.scale.batches`.

        Returns:
            ``piece``, ``row``, ``height``, ``width``, ``broken_row`` and ``reason`` as they were
            given, but images that the model cannot take are among the broken ones; of each row the
            ``number`` of its detections; and of all these ``boxes`` (n, 4), XYXY in pixels of the
            image as it was given, ``scores`` and ``labels``, row after row.
        """
        reasons = dict(zip(batch["broken_row"].tolist(), batch["reason"].tolist(), strict=True))
        inputs = [
            {"image": torch.from_numpy(image), "height": int(height), "width": int(width)}
            for image, height, width in zip(
                batch["image"], batch["height"], batch["width"], strict=True
            )
        ]
        kept, found = [], []
        for k, outcome in enumerate(self._found(inputs)):
            if isinstance(outcome, str):
                reasons[int(batch["row"][k])] = outcome
            else:
                kept.append(k)
                found.append(outcome)
        boxes, scores, labels = zip(_NOTHING, *found, strict=True)
        return {
            "piece": batch["piece"],
            "row": batch["row"][kept],
            "height": batch["height"][kept],
            "width": batch["width"][kept],
            "number": np.array([len(of_one) for of_one in scores[1:]], np.int64),
            "boxes": np.concatenate(boxes),
            "scores": np.concatenate(scores),
            "labels": np.concatenate(labels, dtype=np.int32),
            "broken_row": np.array([*reasons], np.int64),
            "reason": np.array([*reasons.values()], np.str_),
        }

    def _found(self, inputs: list[dict]) -> list[Found | str]:
        """Detections of each image, or why there are none."""
        if not inputs:
            return []
        try:
            found = self.predictor.detect(inputs)
        except ValueError as error:  # an image smaller than the factor, say
            if len(inputs) == 1:
                return [" ".join(str(error).split())]
            return [outcome for x in inputs for outcome in self._found([x])]
        return [self._kept(instances) for instances in found]

    def _kept(self, found: Instances) -> Found | str:
        # As arrays, which are quicker to look at than tensors of so few numbers.
        boxes, scores = found.pred_boxes.tensor.numpy(), found.scores.numpy()
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            return NOT_FINITE
        kept = scores >= self.score
        return boxes[kept], scores[kept], found.pred_classes.numpy()[kept]
