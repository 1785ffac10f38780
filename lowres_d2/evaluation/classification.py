"""Top-1 and top-5 accuracy of a classifier: overall and by class."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lowres_d2.evaluation.found_boxes import check_image_ids, warn_of_non_finite
from lowres_d2.evaluation.tables import metric
from lowres_d2.own_files import own_path

import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from tabulate import tabulate

CLASSIFICATIONS = "classifications.json"  # the file of predictions
SUMMARY_CLASSES = "classification_summary.json"
TASK = "classification"
KEPT = 5  # most probable classes of an image

logger = logging.getLogger(__name__)


class ClassifiedData(Protocol):
    """What the evaluator needs from a data set."""

    classes: Sequence[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict:
        """At least ``image_id`` and ``label``."""


class ClassificationEvaluator(DatasetEvaluator):
    """Shares of the images whose class is the most probable one, or among the five.

    ``evaluate()`` returns ``{"classification": ...}`` in percent: ``top1``; ``top5`` where there
    are more than five classes; ``top1-c`` for each class c, None for one without images. An image
    that the model was not shown, or whose scores are not finite, counts as wrong. Ranks other than
    the first return an empty dict.

    Attributes:
        main_metric: name of the metric that stands for the others.
        columns: metrics that tables show.
        predictions: name of the file of predictions.
    """

    main_metric = f"{TASK}/top1"
    columns = ("top1", "top5")
    predictions = CLASSIFICATIONS

    def __init__(self, dataset: ClassifiedData, output_dir: str | Path | None = None) -> None:
        """
        Args:
            dataset: the test set.
            output_dir: where the first rank writes ``classifications.json`` (``image_id``,
                ``label``, and the most probable ``classes`` with their ``scores``) and
                ``classification_summary.json`` (all metrics); None or "" writes nothing.

        Raises:
            ValueError: the test set has no labels, one that is none of its classes, or two images
                of one id.
        """
        self._classes = list(dataset.classes)
        self._labels = _labels(dataset, len(self._classes))
        if len(self._classes) <= KEPT:
            self.columns = ("top1",)
        self._output_dir = Path(output_dir) if output_dir else None
        self._summary: dict | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the predictions seen so far."""
        self._found: dict[int, tuple[list[int], list[float]]] = {}
        self._not_finite: set[int] = set()  # ids of images

    def process(self, inputs: Sequence[dict], outputs: Sequence[dict]) -> None:
        """Add the predictions of a batch.

        Args:
            inputs: each with the ``image_id`` of the data set.
            outputs: each with ``scores``, of each class.

        Raises:
            ValueError: there are scores of another number of classes than the data set has.
        """
        scores = torch.stack([output["scores"].detach() for output in outputs]).float().cpu()
        if scores.shape[1] != len(self._classes):
            raise ValueError(
                f"the model has scores of {scores.shape[1]} classes, the data set has "
                f"{len(self._classes)}: set the model's num_classes to that"
            )
        # On the CPU equal scores have one order, whatever the device.
        best = scores.sort(dim=1, descending=True, stable=True)
        finite = scores.isfinite().all(dim=1).tolist()
        for given, value, label, known in zip(
            inputs, best.values, best.indices, finite, strict=True
        ):
            if known:
                self._found[given["image_id"]] = (label[:KEPT].tolist(), value[:KEPT].tolist())
            else:  # the order of NaN means nothing; sorting puts class 0 first
                self._not_finite.add(given["image_id"])

    def evaluate(self) -> dict[str, dict[str, float | None]]:
        """Compute the metrics of the predictions so far; the class says which.

        Raises:
            ValueError: there are predictions for an image that the data set does not have.
        """
        # An image that two ranks saw (some samplers pad) has one key, so it counts once.
        ranks, broken = comm.gather(self._found, dst=0), comm.gather(self._not_finite, dst=0)
        if not comm.is_main_process():
            return {}
        found = {image_id: best for rank in ranks for image_id, best in rank.items()}
        self._check_images(found, set().union(*broken))
        self._summary = self._summarize(found)
        self._write(found)
        rows = self._summary["classes"]
        metrics = {name: self._summary["all"][name] for name in self.columns}
        return {TASK: metrics | {f"top1-{row['name']}": row["top1"] for row in rows}}

    def tables(self) -> str:
        """Tables of the last :meth:`evaluate` as text: all images, and by class."""
        if self._summary is None:
            raise RuntimeError(
                "ClassificationEvaluator.tables(): call evaluate() first (on rank 0)"
            )
        return classification_tables(self._summary)

    def metric_objects(self) -> dict[str, int]:
        """All metrics of :meth:`evaluate`, known before it.

        Returns:
            By name, as ``classification/top1``, the number of images that a metric is measured on:
            with 0 it is None.
        """
        known = dict.fromkeys(self.columns, len(self._labels))
        of_class = Counter(self._labels.values())
        known |= {f"top1-{name}": of_class[k] for k, name in enumerate(self._classes)}
        return {f"{TASK}/{name}": count for name, count in known.items()}

    def _check_images(self, found: dict, not_finite: set) -> None:
        seen = [*found, *not_finite]
        strange = [image_id for image_id in seen if image_id not in self._labels]
        if strange:
            raise ValueError(
                f"predictions for image {strange[0]!r}, which the ground truth does not have: is "
                "the evaluator given the data set that the loader reads?"
            )
        warn_of_non_finite(not_finite, len(self._labels), "they count as wrong")
        if len(seen) < len(self._labels):
            logger.warning(
                "%d of %d images were not shown to the model; they count as wrong",
                len(self._labels) - len(seen),
                len(self._labels),
            )

    def _summarize(self, found: dict) -> dict:
        images, first, among = Counter(), Counter(), Counter()
        for image_id, label in self._labels.items():
            best = found.get(image_id, ([], []))[0]
            images[label] += 1
            first[label] += label in best[:1]
            among[label] += label in best
        rows = [
            {
                "name": name,
                "GT": images[k],
                "top1": _percent(first[k], images[k]),
                "top5": _percent(among[k], images[k]),
            }
            for k, name in enumerate(self._classes)
        ]
        whole = {
            "name": "all",
            "GT": images.total(),
            "top1": _percent(first.total(), images.total()),
            "top5": _percent(among.total(), images.total()),
        }
        if "top5" not in self.columns:
            for row in (whole, *rows):
                del row["top5"]
        return {"all": whole, "classes": rows}

    def _write(self, found: dict) -> None:
        if self._output_dir is None:
            return
        predictions = [
            {"image_id": image_id, "label": label, "classes": best[0], "scores": best[1]}
            for image_id, label in self._labels.items()
            if (best := found.get(image_id))
        ]
        files = {CLASSIFICATIONS: predictions, SUMMARY_CLASSES: self._summary}
        for name, content in files.items():
            with own_path(self._output_dir / name) as part:
                part.write_text(json.dumps(content), encoding="utf-8")


def classification_tables(summary: dict) -> str:
    """Tables of an evaluation: all images with the standard error of the accuracy, and by class.

    Args:
        summary: content of ``classification_summary.json``.
    """
    whole = summary["all"]
    columns = [name for name in ("top1", "top5") if name in whole]
    share = whole["top1"] / 100
    error = 100 * (share * (1 - share) / whole["GT"]) ** 0.5
    rows = [
        [row["name"], row["GT"], *(metric(row[name]) for name in columns)]
        for row in (whole, *summary["classes"])
    ]
    # Without disable_numparse tabulate prints 30.0 as 30.
    table = tabulate(rows, ["class", "images", *columns], tablefmt="github", disable_numparse=True)
    return (
        f"{whole['GT']} images, metrics in percent; standard error of top1 over images "
        f"{error:.2f}\n\n{table}"
    )


def _labels(dataset: ClassifiedData, num_classes: int) -> dict[int, int]:
    """Label of each image by its id."""
    source = getattr(dataset, "source", "the test set")
    check_image_ids([record["image_id"] for record in dataset], source)
    labels = {}
    for record in dataset:
        label = record.get("label")
        if label is None or not 0 <= label < num_classes:
            raise ValueError(
                f"{source}: image {record['image_id']} has label {label}, expected a number from 0 "
                f"to {num_classes - 1}: give a test set with labels"
            )
        labels[record["image_id"]] = int(label)
    if not labels:
        raise ValueError(f"{source}: has no images, so nothing can be evaluated")
    return labels


def _percent(number: int, total: int) -> float | None:
    return 100 * number / total if total else None
