"""The predictions of a classifier beside the labels, for gains, confusions and sheets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NOT_SHOWN = -1  # class of an image that the model was not shown


@dataclass(frozen=True)
class Classified:
    """Most probable class of each image, in the order of the data set.

    Attributes:
        labels: (N,) classes of the images.
        predicted: (N,) most probable classes; -1 where the model was not shown the image.
        scores: (N,) probabilities of those.
        num_classes: number of classes.
    """

    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray
    num_classes: int

    @classmethod
    def read(cls, dataset: Sequence[Mapping], predictions_file: str | Path) -> Classified:
        """From what an evaluator has written.

        Args:
            dataset: that it evaluated, with ``classes``.
            predictions_file: its ``classifications.json``.

        Raises:
            ValueError: the file is of another data set.
        """
        rows = json.loads(Path(predictions_file).read_text(encoding="utf-8"))
        found = {row["image_id"]: row for row in rows}
        labels, predicted, scores = [], [], []
        for record in dataset:
            nothing = {"label": record["label"], "classes": [NOT_SHOWN], "scores": [0.0]}
            row = found.pop(record["image_id"], nothing)
            if row["label"] != record["label"]:
                raise ValueError(
                    f"{predictions_file}: image {record['image_id']} has label {row['label']} "
                    f"there and {record['label']} in the data set: evaluate the run on this data"
                )
            labels.append(record["label"])
            predicted.append(row["classes"][0])
            scores.append(row["scores"][0])
        if found:
            raise ValueError(
                f"{predictions_file}: has image {next(iter(found))}, which the data set does not "
                "have: evaluate the run on this data"
            )
        arrays = np.array(labels), np.array(predicted), np.array(scores, float)
        return cls(*arrays, len(dataset.classes))

    @property
    def num_images(self) -> int:
        """Number of test images."""
        return len(self.labels)

    @property
    def right(self) -> np.ndarray:
        """Which images were given their own class (N,)."""
        return self.predicted == self.labels

    def redrawn(self, draws: np.ndarray) -> dict[str, np.ndarray]:
        """Top-1 accuracy in percent, (1 + B,), of the whole set and of each draw of its images.

        Args:
            draws: (B, N): indices of images.
        """
        right = self.right
        return {"top1": 100 * np.concatenate([[right.mean()], right[draws].mean(axis=1)])}

    def informative_images(self, metric: str) -> int:
        """Number of test images that a metric is about: all of them."""
        return self.num_images

    def by_class(self) -> list[tuple[int, float | None]]:
        """Of each class the number of images, and the share in percent that was given it."""
        totals = np.bincount(self.labels, minlength=self.num_classes).tolist()
        hits = np.bincount(self.labels[self.right], minlength=self.num_classes).tolist()
        return [
            (total, 100 * hit / total if total else None)
            for total, hit in zip(totals, hits, strict=True)
        ]

    def confusion(self) -> np.ndarray:
        """Numbers of images (K, K) by their class and by the predicted one."""
        counts = np.zeros((self.num_classes, self.num_classes), np.int64)
        shown = self.predicted != NOT_SHOWN
        np.add.at(counts, (self.labels[shown], self.predicted[shown]), 1)
        return counts
