"""A low-resolution model beside its full-resolution teacher, on the same images in one run.

The teacher runs as an ordinary detector: on the loader's images as they are, in float32, with its
own post-processing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lowres_d2.analysis.cost.comparison import Comparison, Measured
from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.analysis.cost.latency import time_models
from lowres_d2.engine.build import check_classes, check_trained_classes
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.teacher import Teacher
from lowres_d2.recipes.load import build

import torch
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

logger = logging.getLogger(__name__)

# Enough for stable means; at full resolution one takes seconds on a CPU.
MEASURED_IMAGES = 16
FOLDER = "full_resolution"


class FullResolutionModel(nn.Module):
    """A teacher as the detector that it is.

    Args:
        teacher: its network is shared, not copied.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.detector = teacher.model
        self.flip_channels = teacher.flip_channels

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the teacher gives for Detectron2 inputs in the student's channel order."""
        if self.flip_channels:
            batched_inputs = [{**x, "image": x["image"].flip(0)} for x in batched_inputs]
        return self.detector(batched_inputs)


def full_resolution_model(cfg: DictConfig, model: nn.Module) -> FullResolutionModel | None:
    """The model to compare with, its weights loaded; None where there is none or it is not wanted.

    Args:
        cfg: the recipe with its data sets built.
        model: the recipe's.

    Raises:
        FileNotFoundError: the teacher's weights are not there.
        ValueError: they do not fit, or the teacher predicts other classes than the data has.
    """
    teacher = model.teacher if isinstance(model, LowResDetector) else None
    if teacher is None or not cfg.train.compare_teacher:
        return None
    if teacher.lacks_weights:
        logger.info("not compared with full resolution: model.teacher.checkpoint is empty")
        return None
    try:
        teacher.load()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; train.compare_teacher=False evaluates without the teacher"
        ) from None
    dataset = cfg.dataloader.test.dataset
    if hasattr(dataset, "classes"):
        check_classes(teacher.model, dataset.classes, "model.teacher.model")
        if teacher.report is not None:
            check_trained_classes(teacher.report, dataset.classes)
    return FullResolutionModel(teacher)


def compare(
    cfg: DictConfig, model: nn.Module, full: FullResolutionModel, results: Mapping[str, Any]
) -> Comparison | None:
    """Evaluate the full-resolution model as the other one was, then count and time both.

    Args:
        cfg: the recipe with its data sets built.
        model: the low-resolution model.
        full: of :func:`full_resolution_model`.
        results: of the low-resolution model's evaluation.

    Returns:
        None on all processes but the main one.
    """
    full_results = evaluate_apart(cfg, full, FOLDER)
    if not comm.is_main_process():
        return None
    images = first_images(build(cfg, "dataloader.test"), MEASURED_IMAGES)
    timings = time_models({"full": full, "low": model}, images)
    metric = cfg.train.best.val_metric

    def measured(name: str, network: nn.Module, found: Mapping[str, Any]) -> Measured:
        complexity = measure_complexity(network, images)
        return Measured(metric_of(found, metric), complexity, timings[name])

    return Comparison(
        measured("full", full, full_results), measured("low", model, results), metric, machine(full)
    )


def first_images(loader: Iterable[list[dict[str, Any]]], number: int) -> list[dict[str, Any]]:
    """The first inputs that a loader gives, whatever its batches."""
    images: Iterator[dict[str, Any]] = chain.from_iterable(loader)
    return list(islice(images, number))


def machine(model: nn.Module) -> str:
    """What a model runs on, in words."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} thread(s)"


def evaluate_apart(cfg: DictConfig, network: nn.Module, folder: str) -> Mapping[str, Any]:
    """Evaluate with an evaluator of its own, whose files go into a folder in the run's."""
    output_dir = cfg.train.output_dir
    cfg.train.output_dir = str(Path(output_dir, folder))
    try:
        evaluator = build(cfg, "dataloader.evaluator")
        return inference_on_dataset(network, build(cfg, "dataloader.test"), evaluator)
    finally:
        cfg.train.output_dir = output_dir


def metric_of(results: Mapping[str, Any], name: str) -> float | None:
    """One result by its name, such as ``bbox/AP``; None where there is none."""
    for key in name.split("/"):
        results = results.get(key) if isinstance(results, Mapping) else None
    return results
