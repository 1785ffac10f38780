"""Collects a model's detections over a test set, and writes them in COCO's results format.

Boxes are in pixels of the original image; ids are those of the data set's file.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lowres_d2.own_files import own_path

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

PREDICTIONS = "coco_instances_results.json"  # Detectron2's name of the file of detections

logger = logging.getLogger(__name__)


class GroundTruth(Protocol):
    """What an evaluator needs from a data set."""

    classes: Sequence[str]
    category_ids: Sequence[int]

    def coco_dict(self) -> dict:
        """Ground truth in COCO format, with the ids of the file."""


class FoundBoxes(DatasetEvaluator):
    """Keeps the detections of each image, of all processes.

    Args:
        images: entries of the data set's images with their ``id``, in order.
        category_ids: id in the file of each contiguous class.

    Raises:
        ValueError: two images have one id.
    """

    def __init__(self, images: Sequence[Mapping], category_ids: Sequence[int]) -> None:
        self._images = list(images)
        check_image_ids([image["id"] for image in self._images], "the test set")
        self._category_ids = list(category_ids)
        self.reset()

    def reset(self) -> None:
        """Forget the detections seen so far."""
        self._found: dict = {}
        self._not_finite: set = set()  # ids of images

    def process(self, inputs: Sequence[dict], outputs: Sequence[dict]) -> None:
        """Add the detections of a batch; those with NaN or infinity are left out.

        Args:
            inputs: each with the ``image_id`` of the data set.
            outputs: each with ``instances``: ``pred_boxes`` in the original image, ``scores``,
                ``pred_classes`` (contiguous).
        """
        for given, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            # Kept as arrays: a dict for each of millions of boxes takes ten times the memory.
            boxes = instances.pred_boxes.tensor.detach().numpy().astype(np.float64)
            scores = instances.scores.detach().numpy().astype(np.float64)
            # They would be sorted anywhere among the others, and json has no NaN.
            kept = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
            if not kept.all():
                self._not_finite.add(given["image_id"])
            classes = instances.pred_classes.numpy()
            self._found[given["image_id"]] = boxes[kept], scores[kept], classes[kept]

    def gathered(self) -> dict | None:
        """Boxes, scores and classes by image id, of all processes; None but in the main one."""
        # An image that two ranks saw (some samplers pad) has one key, so it counts once.
        ranks, broken = comm.gather(self._found, dst=0), comm.gather(self._not_finite, dst=0)
        if not comm.is_main_process():
            return None
        warn_of_non_finite(set().union(*broken), len(self._images), "detections are left out there")
        return {image_id: boxes for rank in ranks for image_id, boxes in rank.items()}

    def as_results(self, found: Mapping) -> list[dict]:
        """Detections as COCO results.

        Args:
            found: from :meth:`gathered`.

        Raises:
            ValueError: an image or class is not of the data set.
        """
        known = {image["id"] for image in self._images}
        strange = [image_id for image_id in found if image_id not in known]
        if strange:
            raise ValueError(
                f"detections for image {strange[0]!r}, which the ground truth does not have: "
                "is the evaluator given the data set that the loader reads?"
            )
        if len(found) < len(known):
            logger.warning(
                "%d of %d images were not shown to the model; their objects count as missed",
                len(known) - len(found),
                len(known),
            )
        # In the order of the ground truth, so that the number of ranks does not change ties.
        return [
            detection
            for image in self._images
            if image["id"] in found
            for detection in self._rows(image["id"], *found[image["id"]])
        ]

    def _rows(
        self, image_id: int, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray
    ) -> list[dict]:
        if classes.size and not 0 <= classes.min() <= classes.max() < len(self._category_ids):
            raise ValueError(
                f"image {image_id}: the model found class {classes.max()}, the data set has "
                f"{len(self._category_ids)} classes: set the model's num_classes to that"
            )
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)  # XYXY -> XYWH
        return [
            {
                "image_id": image_id,
                "category_id": self._category_ids[label],
                "bbox": box,
                "score": score,
            }
            for box, score, label in zip(
                boxes.tolist(), scores.tolist(), classes.tolist(), strict=True
            )
        ]


def check_image_ids(ids: Sequence, source: str) -> None:
    """Raise if two images have one id, under which results of both would be kept.

    Raises:
        ValueError: names the id.
    """
    image_id, number = next(iter(Counter(ids).most_common(1)), (None, 0))
    if number > 1:
        raise ValueError(
            f"{source}: {number} images have the image_id {image_id!r}: give each its own, since "
            "results are kept by it"
        )


def warn_of_non_finite(ids: set, images: int, what: str) -> None:
    """Warn of images for which the model gave NaN or infinity.

    Args:
        ids: of these images.
        images: number of images of the test set.
        what: becomes of them.
    """
    if ids:
        logger.warning(
            "the model gives NaN or infinity for %d of %d images (such as image %r); %s: the run "
            "has probably diverged, use an earlier checkpoint",
            len(ids),
            images,
            min(ids, key=str),
            what,
        )


class DetectionWriter(FoundBoxes):
    """Writes the detections of a test set without labels; there is nothing to compare them with.

    ``evaluate()`` writes ``coco_instances_results.json``, as COCO's servers take it, and returns
    no metric. Where the data set has no json file, whose ids say which image is meant, each
    detection has the ``file_name`` of its image as well.

    Attributes:
        path: the file.
        num_detections: number of detections in it, after ``evaluate()``.

    Args:
        dataset: the test set.
        output_dir: folder of the file.
    """

    def __init__(self, dataset: GroundTruth, output_dir: str | Path) -> None:
        images = dataset.coco_dict()["images"]
        super().__init__(images, dataset.category_ids)
        self.path = Path(output_dir) / PREDICTIONS
        self.num_detections = 0
        has_ids = getattr(dataset, "json_file", None) is not None
        self._names = {} if has_ids else {image["id"]: image["file_name"] for image in images}

    def evaluate(self) -> dict[str, dict]:
        """Write the file; there are no metrics."""
        found = self.gathered()
        if found is not None:
            detections = [
                detection | {"file_name": self._names[detection["image_id"]]}
                if self._names
                else detection
                for detection in self.as_results(found)
            ]
            self.num_detections = len(detections)
            with own_path(self.path) as part:
                part.write_text(json.dumps(detections), encoding="utf-8")
        return {}
