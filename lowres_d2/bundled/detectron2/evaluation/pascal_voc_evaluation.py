"""Pascal VOC's box metric: average precision at IoU 0.50 to 0.95, as its development kit has it.

Boxes are XYXY in VOC's convention: whole pixels counted from 1, both ends inside the box, so that a
width is ``xmax - xmin + 1``. D detections of one class in descending order of score.
"""

from __future__ import annotations

import logging
import os
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2._uncovered import uncovered
from detectron2.data import MetadataCatalog
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

logger = logging.getLogger(__name__)

# They read the development kit's folders and result files; the evaluator here keeps all in memory.
parse_rec = uncovered("detectron2.evaluation.pascal_voc_evaluation.parse_rec")
voc_eval = uncovered("detectron2.evaluation.pascal_voc_evaluation.voc_eval")

IOU_PERCENTS = range(50, 100, 5)

BOX_SIDES = ("xmin", "ymin", "xmax", "ymax")

Detection = tuple[str, float, tuple[float, ...]]  # image's id, score, box
GroundTruth = tuple[np.ndarray, np.ndarray]  # boxes (G, 4), difficult (G,)


class PascalVOCDetectionEvaluator(DatasetEvaluator):
    """AP, AP50 and AP75 in percent; objects marked difficult count neither way.

    VOC 2007 samples precision at 11 recalls, 2012 takes the area under the curve. The kit's files
    of results have three digits of the score and one of the coordinates, and so have these.

    Args:
        dataset_name: a registered data set with ``dirname``, ``split``, ``year`` and
            ``thing_classes`` in its metadata.
    """

    def __init__(self, dataset_name: str) -> None:
        meta = MetadataCatalog.get(dataset_name)
        if meta.year not in (2007, 2012):
            raise ValueError(f"{dataset_name}: year must be 2007 or 2012, got {meta.year!r}")
        self._dataset_name = dataset_name
        self._class_names = meta.thing_classes
        self._use_07_metric = meta.year == 2007
        root = PathManager.get_local_path(meta.dirname)
        self._annotation_dir = os.path.join(root, "Annotations")
        self._image_set = os.path.join(root, "ImageSets", "Main", f"{meta.split}.txt")
        self._predictions: dict[int, list[Detection]] = defaultdict(list)

    def reset(self) -> None:
        self._predictions = defaultdict(list)

    def process(
        self, inputs: Iterable[Mapping[str, Any]], outputs: Iterable[Mapping[str, Any]]
    ) -> None:
        """Take in one batch.

        Args:
            inputs: dicts with ``image_id``, the stem of the image's file.
            outputs: dicts with ``instances``.
        """
        for given, output in zip(inputs, outputs, strict=False):
            instances = output["instances"].to("cpu")
            rows = zip(
                instances.pred_boxes.tensor.tolist(),
                instances.scores.tolist(),
                instances.pred_classes.tolist(),
                strict=True,
            )
            for (xmin, ymin, xmax, ymax), score, category in rows:
                # Back from Detectron2's continuous frame, whose origin is VOC's pixel 1.
                box = tuple(_digits(x, 1) for x in (xmin + 1, ymin + 1, xmax, ymax))
                detection = (str(given["image_id"]), _digits(score, 3), box)
                self._predictions[category].append(detection)

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        gathered = comm.gather(dict(self._predictions), dst=0)
        if not comm.is_main_process():
            return None
        detections = defaultdict(list)
        for of_rank in gathered:
            for category, found in of_rank.items():
                detections[category].extend(found)
        logger.info(
            f"Evaluating {self._dataset_name}, "
            + ("11 recalls (VOC 2007)" if self._use_07_metric else "area under the curve")
        )

        truth = self._read_ground_truth()
        aps = defaultdict(list)  # IoU in percent -> AP of each class
        for category, name in enumerate(self._class_names):
            matches = match_detections(detections[category], truth[name])
            for percent in IOU_PERCENTS:
                recall, precision = matches.curve(percent / 100.0)
                aps[percent].append(100 * voc_ap(recall, precision, self._use_07_metric))
        means = {percent: float(np.mean(values)) for percent, values in aps.items()}
        mean = float(np.mean(list(means.values())))
        return {"bbox": {"AP": mean, "AP50": means[50], "AP75": means[75]}}

    def _read_ground_truth(self) -> dict[str, dict[str, GroundTruth]]:
        """Ground truth by class, then by image (every image is there)."""
        with PathManager.open(self._image_set, "r", encoding="utf-8") as file:
            images = [line.split()[0] for line in file if line.strip()]
        truth: dict[str, dict[str, GroundTruth]] = {name: {} for name in self._class_names}
        for image in images:
            objects = _read_xml(os.path.join(self._annotation_dir, f"{image}.xml"))
            for name in self._class_names:
                boxes = [box for label, box, _ in objects if label == name]
                difficult = [hard for label, _, hard in objects if label == name]
                truth[name][image] = (
                    np.array(boxes, dtype=float).reshape(-1, 4),
                    np.array(difficult, dtype=bool),
                )
        return truth


@dataclass(frozen=True)
class Matches:
    """Each detection's best ground truth box, whatever the IoU threshold.

    Attributes:
        overlap: (D,) IoU with it; -inf where the image has none of the class.
        target: (D,) its number in the data set; -1 for none.
        difficult: (all ground truth,) whether it is marked so.
    """

    overlap: np.ndarray
    target: np.ndarray
    difficult: np.ndarray

    def curve(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision after each detection, (D,) both.

        Args:
            threshold: a detection must have a larger IoU.
        """
        hit = self.overlap > threshold
        ignored = np.zeros_like(hit)
        ignored[hit] = self.difficult[self.target[hit]]
        first = np.zeros_like(hit)
        # Of several detections of one object, the best is right and the rest are wrong.
        _, where = np.unique(self.target[hit], return_index=True)
        first[np.flatnonzero(hit)[where]] = True
        tp = np.cumsum(first & ~ignored, dtype=float)
        fp = np.cumsum(~first & ~ignored, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            recall = tp / float(np.sum(~self.difficult))
        return recall, tp / np.maximum(tp + fp, np.finfo(np.float64).eps)


def match_detections(detections: Sequence[Detection], truth: Mapping[str, GroundTruth]) -> Matches:
    """Sort one class's detections by score and find each one's best ground truth box.

    Args:
        detections: in any order.
        truth: ground truth of the class by image.
    """
    start, total = {}, 0
    for image, (boxes, _) in truth.items():
        start[image] = total
        total += len(boxes)
    overlap = np.full(len(detections), -np.inf)
    target = np.full(len(detections), -1)
    scores = np.array([score for _, score, _ in detections], dtype=float)
    order = np.argsort(-scores, kind="stable")  # equal scores stay in the order they came
    for rank, index in enumerate(order):
        image, _, box = detections[index]
        if image not in truth:
            raise KeyError(f"detections of image {image!r}, which the image set does not name")
        boxes = truth[image][0]
        if len(boxes):
            iou = _iou(np.array(box), boxes)
            overlap[rank] = iou.max()
            target[rank] = start[image] + iou.argmax()
    flags = [hard for _, hard in truth.values()]
    return Matches(overlap, target, np.concatenate(flags) if flags else np.zeros(0, dtype=bool))


def voc_ap(recall: np.ndarray, precision: np.ndarray, use_07_metric: bool = False) -> float:
    """Average precision of a curve, as a fraction.

    Args:
        recall: ascending, (D,).
        precision: (D,).
        use_07_metric: mean of the best precision at 11 recalls, otherwise the exact area under the
            precision that never rises with recall.
    """
    if use_07_metric:
        reached = [precision[recall >= level] for level in np.arange(0.0, 1.1, 0.1)]
        return sum(float(values.max()) if values.size else 0.0 for values in reached) / 11.0
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope))


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoU of one box (4,) with several (G, 4), ends included."""
    top_left = np.maximum(boxes[:, :2], box[:2])
    bottom_right = np.minimum(boxes[:, 2:], box[2:])
    inter = np.prod(np.maximum(bottom_right - top_left + 1.0, 0.0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1.0, axis=1)
    return inter / (np.prod(box[2:] - box[:2] + 1.0) + areas - inter)


def _read_xml(path: str) -> list[tuple[str, tuple[float, ...], bool]]:
    """Name, box and difficult flag of each object of an annotation file."""
    with PathManager.open(path, "r", encoding="utf-8") as file:
        tree = ElementTree.parse(file)
    return [
        (
            item.findtext("name", ""),
            tuple(float(item.findtext(f"bndbox/{side}")) for side in BOX_SIDES),
            item.findtext("difficult", "0").strip() == "1",
        )
        for item in tree.findall("object")
    ]


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}f}")
