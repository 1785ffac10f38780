"""Compare a low-resolution model with its full-resolution teacher, on the same images in one run.

The teacher runs as an ordinary detector: on the loader's images unchanged, in float32, with its own
post-processing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lowres_d2.analysis.cost.comparison import Comparison, Measured
from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.analysis.cost.latency import time_models
from lowres_d2.deploy.one_bit import is_packed
from lowres_d2.engine.build import check_classes, check_trained_classes
from lowres_d2.engine.startup.weights import check_weights, network_weights
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.teacher import Teacher
from lowres_d2.modeling.tiles import TiledDetector, untiled
from lowres_d2.recipes.load import build

import torch
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

logger = logging.getLogger(__name__)

# As many as ThumbDet's Table 2 takes its costs from.
COUNTED_IMAGES = 100
# On a CPU enough for a stable mean time; at full resolution an image takes seconds there.
_TIMED_ON_CPU = 16
FOLDER = "full_resolution"


class FullResolutionModel(nn.Module):
    """A teacher as an ordinary detector.

    Args:
        teacher: its network is shared, not copied.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.detector = teacher.model
        self.flip_channels = teacher.flip_channels

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The teacher's detections for Detectron2 inputs in the student's channel order."""
        if self.flip_channels:
            batched_inputs = [{**x, "image": x["image"].flip(0)} for x in batched_inputs]
        return self.detector(batched_inputs)


def check_compared_weights(cfg: DictConfig) -> None:
    """Raise if the teacher's weights are missing, before data is read or generated.

    Raises:
        FileNotFoundError: as :func:`full_resolution_model`.
    """
    # Packed models, which are not compared, are such files.
    if cfg.train.compare_teacher and not str(cfg.train.init_checkpoint).endswith(".safetensors"):
        with _naming_the_key():
            teachers = (k for k in network_weights(cfg) if k.endswith(".teacher.checkpoint"))
            check_weights(cfg, *teachers)


@contextlib.contextmanager
def _naming_the_key() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; set train.compare_teacher=False to evaluate without the teacher"
        ) from None


def full_resolution_model(cfg: DictConfig, model: nn.Module) -> nn.Module | None:
    """The teacher to compare with, its weights loaded; None if no comparison is possible or wanted.

    Args:
        cfg: the recipe with its data sets built.
        model: the recipe's model.

    Raises:
        FileNotFoundError: the teacher's weights are missing.
        ValueError: they do not fit, or the teacher predicts other classes than the data has.
    """
    detector = untiled(model)
    teacher = detector.teacher if isinstance(detector, LowResDetector) else None
    if teacher is None or not cfg.train.compare_teacher:
        return None
    if teacher.lacks_weights:
        logger.info("no comparison with full resolution: model.teacher.checkpoint is empty")
        return None
    if is_packed(model):
        logger.info("no comparison with full resolution: a packed model has no MACs to count")
        return None
    with _naming_the_key():
        teacher.load()
    dataset = cfg.dataloader.test.dataset
    if hasattr(dataset, "classes"):
        check_classes(teacher.model, dataset.classes, "model.teacher.model")
        if teacher.report is not None:
            check_trained_classes(teacher.report, dataset.classes, "model.teacher.checkpoint")
    full = FullResolutionModel(teacher)
    return model.around(full) if isinstance(model, TiledDetector) else full


def compare(
    cfg: DictConfig, model: nn.Module, full: nn.Module, results: Mapping[str, Any]
) -> Comparison | None:
    """Evaluate the full-resolution model in the same way, then measure MACs and time of both.

    Args:
        cfg: the recipe with its data sets built.
        model: the low-resolution model.
        full: the model from :func:`full_resolution_model`.
        results: evaluation results of the low-resolution model.

    Returns:
        The comparison, whose metric says if it is an agreement with pseudo labels; None on all
        processes but the main one.
    """
    full_results = evaluate_apart(cfg, full, FOLDER)
    if not comm.is_main_process():
        return None
    images = first_images(build(cfg, "dataloader.test"), COUNTED_IMAGES)
    # In one call: the models take turns, so that a busy machine slows both alike.
    timings = time_models({"full": full, "low": model}, images_to_time(images, full))
    metric = cfg.train.best.val_metric

    def measured(name: str, network: nn.Module, found: Mapping[str, Any]) -> Measured:
        complexity = measure_complexity(network, images)
        return Measured(metric_of(found, metric), complexity, timings[name])

    agreed = getattr(cfg.dataloader.test.dataset, "labelled_by", "")
    return Comparison(
        measured("full", full, full_results),
        measured("low", model, results),
        f"{metric} (agreement)" if agreed else metric,
        machine(full),
    )


def first_images(loader: Iterable[list[dict[str, Any]]], number: int) -> list[dict[str, Any]]:
    """The first inputs of a loader, whatever its batch size."""
    images: Iterator[dict[str, Any]] = chain.from_iterable(loader)
    return list(islice(images, number))


def images_to_time(images: Sequence[dict[str, Any]], model: nn.Module) -> Sequence[dict[str, Any]]:
    """Those of the counted images that a model is timed on; on a CPU the first ones alone."""
    on_cpu = next(model.parameters()).device.type == "cpu"
    return images[:_TIMED_ON_CPU] if on_cpu else images


def machine(model: nn.Module) -> str:
    """The device that a model runs on, for tables."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} thread(s)"


def evaluate_apart(cfg: DictConfig, network: nn.Module, folder: str) -> Mapping[str, Any]:
    """Evaluate with a separate evaluator, whose files go to a folder, named from the run's."""
    output_dir = cfg.train.output_dir
    # Recipes give the evaluator ${train.output_dir}, which is resolved when it is built.
    cfg.train.output_dir = str(Path(output_dir, folder))
    try:
        evaluator = build(cfg, "dataloader.evaluator")
        return inference_on_dataset(network, build(cfg, "dataloader.test"), evaluator)
    finally:
        cfg.train.output_dir = output_dir


def metric_of(results: Mapping[str, Any], name: str) -> float | None:
    """A metric by its name, such as ``bbox/AP``; None if the results lack it."""
    for key in name.split("/"):
        results = results.get(key) if isinstance(results, Mapping) else None
    return results
