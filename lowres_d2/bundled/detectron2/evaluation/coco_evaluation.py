"""COCO's box metrics, and the average recall of proposals.

Detections are XYWH in pixels of the original image, in COCO's result format; categories are the
json's ids there and contiguous (0 to K - 1) everywhere else. Metrics are percentages.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import logging
import os
import pickle
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2._uncovered import needs_upstream
from detectron2.data import MetadataCatalog
from detectron2.data.datasets.coco import convert_to_coco_json
from detectron2.evaluation.box_proposals import AREA_RANGES, evaluate_box_proposals
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.evaluation.fast_eval_api import COCOeval_opt
from detectron2.structures import BoxMode, Instances
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tabulate import tabulate

logger = logging.getLogger(__name__)

# Metric -> (row of the IoU thresholds 0.50, 0.55, ..., 0.95 or None for all; index of the range
# of area).
BOX_METRICS = {
    "AP": (None, 0),
    "AP50": (0, 0),
    "AP75": (5, 0),
    "APs": (None, 1),
    "APm": (None, 2),
    "APl": (None, 3),
}


class COCOEvaluator(DatasetEvaluator):
    """Average precision of boxes as COCO defines it; average recall of proposals.

    Outputs with ``instances`` (pred_boxes, scores, pred_classes) are evaluated as ``bbox``, those
    with ``proposals`` (proposal_boxes, objectness_logits) as ``box_proposals``. A metric without
    ground truth is nan. Where the json has no annotations, results are written only.

    Args:
        dataset_name: a registered data set. One without ``json_file`` in its metadata is converted.
        tasks: the tasks to evaluate; None takes them from the outputs. Only ``bbox`` is covered.
        distributed: gather from all ranks; otherwise each evaluates what it has.
        output_dir: for results as json and torch files; None writes none.
        max_dets_per_image: detections per image and category that count; None for 100.
        use_fast_impl: evaluate in Rust by hotcoco, else by pycocotools.
        kpt_oks_sigmas: of keypoints, which are not covered.
        allow_cached_coco: reuse a converted json in ``output_dir``.
    """

    def __init__(
        self,
        dataset_name: str,
        tasks: Sequence[str] | None = None,
        distributed: bool = True,
        output_dir: str | None = None,
        *,
        max_dets_per_image: int | None = None,
        use_fast_impl: bool = True,
        kpt_oks_sigmas: Sequence[float] = (),
        allow_cached_coco: bool = True,
    ) -> None:
        uncovered = set(tasks or ()) - {"bbox"}
        if uncovered or len(kpt_oks_sigmas) > 0:
            needs_upstream(f"COCOEvaluator of {', '.join(sorted(uncovered)) or 'keypoints'}")
        self._tasks = tasks
        self._distributed = distributed
        self._output_dir = output_dir
        self._use_fast_impl = use_fast_impl
        self._max_dets_per_image = 100 if max_dets_per_image is None else max_dets_per_image

        self._metadata = MetadataCatalog.get(dataset_name)
        if not hasattr(self._metadata, "json_file"):
            if output_dir is None:
                raise ValueError(
                    f"COCOEvaluator: {dataset_name} has no json_file; give output_dir, where one "
                    "can be made"
                )
            path = os.path.join(output_dir, f"{dataset_name}_coco_format.json")
            convert_to_coco_json(dataset_name, path, allow_cached=allow_cached_coco)
            self._metadata.json_file = path
        with contextlib.redirect_stdout(io.StringIO()):
            self._coco_api = COCO(PathManager.get_local_path(self._metadata.json_file))
        self._do_evaluation = "annotations" in self._coco_api.dataset
        self._predictions: list[dict[str, Any]] = []
        self._results: dict[str, dict[str, float]] = {}

    def reset(self) -> None:
        self._predictions = []

    def process(
        self, inputs: Iterable[Mapping[str, Any]], outputs: Iterable[Mapping[str, Any]]
    ) -> None:
        """Take in one batch.

        Args:
            inputs: dicts with ``image_id``.
            outputs: dicts with ``instances`` or ``proposals``.
        """
        for given, output in zip(inputs, outputs, strict=False):
            prediction: dict[str, Any] = {"image_id": given["image_id"]}
            if "instances" in output:
                instances = output["instances"].to("cpu")
                prediction["instances"] = instances_to_coco_json(instances, given["image_id"])
            if "proposals" in output:
                prediction["proposals"] = output["proposals"].to("cpu")
            if len(prediction) > 1:
                self._predictions.append(prediction)

    def evaluate(self, img_ids: Sequence[int] | None = None) -> dict[str, dict[str, float]]:
        """Metrics of what was taken in; empty on ranks other than the main one.

        Args:
            img_ids: evaluate these images only; None for all of the json.
        """
        predictions = self._predictions
        if self._distributed:
            comm.synchronize()
            predictions = list(itertools.chain(*comm.gather(predictions, dst=0)))
            if not comm.is_main_process():
                return {}
        if not predictions:
            logger.warning("COCOEvaluator: received no predictions; there are no results")
            return {}
        if self._output_dir:
            PathManager.mkdirs(self._output_dir)
            with self._open("instances_predictions.pth", "wb") as file:
                torch.save(predictions, file)
        self._results = {}
        if "proposals" in predictions[0]:
            self._eval_box_proposals(predictions)
        if "instances" in predictions[0]:
            self._eval_predictions(predictions, img_ids)
        return copy.deepcopy(self._results)

    def _open(self, name: str, mode: str) -> Any:
        encoding = None if "b" in mode else "utf-8"
        return PathManager.open(os.path.join(self._output_dir, name), mode, encoding=encoding)

    def _eval_predictions(
        self, predictions: Sequence[Mapping[str, Any]], img_ids: Sequence[int] | None = None
    ) -> None:
        detections = list(itertools.chain(*(p["instances"] for p in predictions)))
        detections = self._with_json_categories(detections)
        if self._output_dir:
            with self._open("coco_instances_results.json", "w") as file:
                json.dump(detections, file)
        if not self._do_evaluation:
            logger.info("The json has no annotations: results are written, not evaluated")
            return
        for task in self._tasks or self._tasks_from_predictions(detections):
            # pycocotools cannot load an empty list of results.
            evaluation = detections and _evaluate_predictions_on_coco(
                self._coco_api,
                detections,
                task,
                cocoeval_fn=COCOeval_opt if self._use_fast_impl else COCOeval,
                img_ids=img_ids,
                max_dets_per_image=[1, 10, self._max_dets_per_image],
            )
            self._results[task] = self._derive_coco_results(
                evaluation or None, task, class_names=self._metadata.get("thing_classes")
            )

    def _with_json_categories(self, detections: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same with the json's category ids."""
        contiguous = self._metadata.get("thing_dataset_id_to_contiguous_id")
        if contiguous is None:
            return detections
        number = len(contiguous)
        json_id = {index: category for category, index in contiguous.items()}
        assert sorted(json_id) == list(range(number)), f"classes are not contiguous: {contiguous}"
        for detection in detections:
            assert detection["category_id"] in json_id, (
                f"a detection has class {detection['category_id']}; {self._metadata.name} has "
                f"{number} classes, numbered 0 to {number - 1}"
            )
        return [{**d, "category_id": json_id[d["category_id"]]} for d in detections]

    def _tasks_from_predictions(self, predictions: Sequence[Mapping[str, Any]]) -> list[str]:
        """The tasks to evaluate where none are given, from detections in COCO's format."""
        return ["bbox"]

    def _derive_coco_results(
        self,
        coco_eval: COCOeval_opt | COCOeval | None,
        iou_type: str,
        class_names: Sequence[str] | None = None,
    ) -> dict[str, float]:
        """Metrics from the engine's precision array, and a table of them in the log.

        Args:
            coco_eval: an engine that has accumulated; None where there are no detections.
            iou_type: the task's name.
            class_names: with at least two, the AP of each is given as ``AP-<name>``.
        """
        if coco_eval is None:
            logger.warning("COCOEvaluator: the model has no detections; metrics are NaN")
            return dict.fromkeys(BOX_METRICS, float("nan"))
        precision = coco_eval.eval["precision"]  # IoUs x recalls x categories x areas x max_dets
        results = {
            metric: _average(precision[slice(None) if row is None else row, ..., area, -1])
            for metric, (row, area) in BOX_METRICS.items()
        }
        logger.info(f"Results of {iou_type}:\n{_table(results, 6)}")
        if not np.isfinite(list(results.values())).all():
            logger.info("nan: there is no ground truth for this metric")
        if class_names is None or len(class_names) <= 1:
            return results

        assert len(class_names) == precision.shape[2], "names and json categories differ in number"
        by_class = {
            name: _average(precision[:, :, index, 0, -1]) for index, name in enumerate(class_names)
        }
        logger.info(f"AP of {iou_type} by category:\n{_table(by_class, 3)}")
        return results | {f"AP-{name}": value for name, value in by_class.items()}

    def _eval_box_proposals(self, predictions: Sequence[Mapping[str, Any]]) -> None:
        if self._output_dir:
            proposals = [p["proposals"] for p in predictions]
            contents = {
                "boxes": [p.proposal_boxes.tensor.numpy() for p in proposals],
                "objectness_logits": [p.objectness_logits.numpy() for p in proposals],
                "ids": [p["image_id"] for p in predictions],
                "bbox_mode": BoxMode.XYXY_ABS.value,
            }
            with self._open("box_proposals.pkl", "wb") as file:
                pickle.dump(contents, file)
        if not self._do_evaluation:
            logger.info("The json has no annotations: proposals are written, not evaluated")
            return
        results = {}
        for limit in (100, 1000):
            for area, suffix in zip(AREA_RANGES, ("", "s", "m", "l"), strict=False):
                stats = evaluate_box_proposals(predictions, self._coco_api, area=area, limit=limit)
                results[f"AR{suffix}@{limit}"] = 100 * float(stats["ar"])
        logger.info(f"Results of box_proposals:\n{_table(results, 4)}")
        self._results["box_proposals"] = results


def instances_to_coco_json(instances: Instances, img_id: int) -> list[dict[str, Any]]:
    """One image's detections in COCO's result format; ``category_id`` stays contiguous.

    Args:
        instances: with pred_boxes, scores and pred_classes, on the CPU.
        img_id: the image's id in the json.
    """
    for field in ("pred_masks", "pred_keypoints"):
        if instances.has(field):
            needs_upstream(f"instances_to_coco_json of {field}")
    if len(instances) == 0:
        return []
    boxes = BoxMode.convert(instances.pred_boxes.tensor, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    rows = zip(
        instances.pred_classes.tolist(), boxes.tolist(), instances.scores.tolist(), strict=True
    )
    return [
        {"image_id": img_id, "category_id": category, "bbox": box, "score": score}
        for category, box, score in rows
    ]


def _evaluate_predictions_on_coco(
    coco_gt: COCO,
    coco_results: list[dict[str, Any]],
    iou_type: str,
    kpt_oks_sigmas: Sequence[float] | None = None,
    cocoeval_fn: type[COCOeval] | type[COCOeval_opt] = COCOeval_opt,
    img_ids: Sequence[int] | None = None,
    max_dets_per_image: Sequence[int] | None = None,
) -> COCOeval | COCOeval_opt:
    """An engine that has accumulated.

    Args:
        coco_gt: the ground truth.
        coco_results: detections in COCO's result format, at least one.
        iou_type: ``bbox``; others need upstream.
        kpt_oks_sigmas: needs upstream.
        cocoeval_fn: the engine.
        img_ids: evaluate these images only; None for all.
        max_dets_per_image: three limits on an image's detections; None for 1, 10 and 100.
    """
    if iou_type != "bbox" or kpt_oks_sigmas:
        needs_upstream(f"COCO's evaluation of {'keypoints' if kpt_oks_sigmas else iou_type}")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # hotcoco's, of limits that are not COCO's
        evaluation = cocoeval_fn(coco_gt, coco_gt.loadRes(coco_results), iou_type)
        evaluation.params.maxDets = list(max_dets_per_image or (1, 10, 100))
        if img_ids is not None:
            evaluation.params.imgIds = img_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


# Upstream's names: the engine here summarises under any limit on detections.
_evaluate_box_proposals = evaluate_box_proposals
COCOevalMaxDets = COCOeval_opt


def _average(precision: np.ndarray) -> float:
    """Mean in percent over the entries that have ground truth (-1 marks those that have none)."""
    valid = precision[precision > -1]
    return float(100 * valid.mean()) if valid.size else float("nan")


def _table(values: Mapping[str, float], columns: int) -> str:
    cells = [(name, f"{value:.3f}") for name, value in values.items()]
    rows = [
        list(itertools.chain(*cells[start : start + columns]))
        for start in range(0, len(cells), columns)
    ]
    return tabulate(rows, tablefmt="presto", disable_numparse=True)
