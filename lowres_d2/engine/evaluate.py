"""Evaluate a recipe's model on its test set."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets import with_classes
from lowres_d2.data.datasets.sample import EvenSample
from lowres_d2.engine.build import (
    build_datasets,
    check_classes,
    check_trained_classes,
)
from lowres_d2.engine.compare import check_compared_weights, compare, full_resolution_model
from lowres_d2.engine.evaluation_file import subject_of, write_evaluation
from lowres_d2.engine.run_folder import RESULTS, check_writable, claimed
from lowres_d2.engine.startup.metric import check_metric
from lowres_d2.engine.startup.report import StartUp, log_start_up
from lowres_d2.engine.startup.weights import INIT, check_weights, naming_weights
from lowres_d2.engine.trained import trained_model
from lowres_d2.evaluation import DetectionWriter
from lowres_d2.evaluation.shown import ShownMetrics
from lowres_d2.evaluation.tables import metric
from lowres_d2.modeling.tiles import counting_tiles, sum_of_tiles
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.own_files import check_own
from lowres_d2.recipes.load import build
from lowres_d2.recipes.standalone import standalone

from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

logger = logging.getLogger(__name__)


def evaluate(
    cfg: DictConfig, model: nn.Module, evaluator: DatasetEvaluator, show: bool = True
) -> dict[str, Any]:
    """Evaluate a model on the recipe's test set.

    Args:
        cfg: the recipe.
        model: model with its weights loaded, without a distributed wrapper.
        evaluator: the recipe's evaluator, built.
        show: print the evaluator's tables.

    Returns:
        The evaluator's results (``{"bbox": {"AP": ...}}``, percent), also written to
        ``<output_dir>/evaluation.json``, which also says what they are of; empty on all processes
        but the main one.
    """
    loader = build(cfg, "dataloader.test")
    # In every process: the evaluator gathers the detections of all in the main one.
    with counting_tiles(model) as count:
        results = inference_on_dataset(model, loader, evaluator)
    looked_at = sum_of_tiles(comm.gather(count()))
    if not comm.is_main_process():
        return {}
    if show and hasattr(evaluator, "tables"):
        logger.info("%s", evaluator.tables())
    if looked_at.of:
        logger.info("tiles looked at: %s", looked_at)
    write_evaluation(cfg.train.output_dir, results, subject_of(cfg, model))
    return results


def model_with_weights(cfg: DictConfig) -> tuple[nn.Module, LoadReport]:
    """The recipe's model in evaluation mode, all of its weights from ``train.init_checkpoint``.

    Also builds the recipe's test set. The report says how the weights were loaded.

    Raises:
        FileNotFoundError: the weights or the data are missing.
        ValueError: the weights do not cover the model, or were trained on other classes than the
            data has.
    """
    path = cfg.train.init_checkpoint
    check_weights(cfg, INIT)
    build_datasets(cfg, ["test"])
    with naming_weights(INIT, path):
        model, report = trained_model(cfg, path)
    cfg.dataloader.test.dataset = with_classes(
        cfg.dataloader.test.dataset, report.classes, report.category_ids
    )
    classes = getattr(cfg.dataloader.test.dataset, "classes", report.classes)
    check_classes(model, classes)
    check_trained_classes(report, classes)
    return model, report


def evaluate_only(cfg: DictConfig, images: int = 0) -> dict[str, Any]:
    """``--eval-only``: load all of the model's weights from ``train.init_checkpoint`` and evaluate.

    A model with a full-resolution teacher is compared with it, see ``lowres_d2.engine.compare``.
    Of a test set without labels the detections are written, and there are no results.

    Args:
        cfg: the recipe.
        images: evaluate on this many images, spread over the test set; 0 takes all. The names of
            the metrics then contain the number (``bbox_on_200/AP``), and the results go to a
            subfolder ``on_200``.

    Returns:
        The results as :func:`evaluate` gives them, with ``comparison`` if there was one; also
        written to ``evaluation.json``.

    Raises:
        FileExistsError: a file of the results exists, and no run wrote it.
        FileNotFoundError: the teacher's weights are missing.
        ValueError: no weights are given, or they do not cover the model.
    """
    if not cfg.train.init_checkpoint:
        raise ValueError("--eval-only needs weights: set train.init_checkpoint=FILE")
    folder = cfg.train.output_dir
    check_writable(folder)
    check_weights(cfg, INIT)
    check_compared_weights(cfg)
    cfg.model = standalone(cfg).model  # as in the config.yaml of a run, for what is evaluated
    model, report = model_with_weights(cfg)
    if images:
        sample = take_sample(cfg, images)
    if getattr(cfg.dataloader.test.dataset, "num_objects", 1) == 0:
        with _results_claimed(cfg, folder):
            _write_detections(cfg, model, report)
        return {}
    full = full_resolution_model(cfg, model)
    evaluator = build(cfg, "dataloader.evaluator")
    if full:
        check_metric(cfg, evaluator)
    log_start_up(StartUp(cfg, model, evaluator, "test", report))
    with _results_claimed(cfg, folder):
        results = evaluate(cfg, model, evaluator)
        comparison = compare(cfg, model, full, results) if full else None
        if images:
            # Named after the sample, so that these metrics never pass for those of the whole set.
            results = {f"{task}_{sample}": found for task, found in results.items()}
            main = ShownMetrics.of(evaluator).main
            for task, found in results.items():
                logger.info("%s/%s %s", task, main, metric(found.get(main)))
        if comparison is not None:
            if images:
                name = comparison.metric.replace("/", f"_{sample}/", 1)
                comparison = dataclasses.replace(comparison, metric=name)
            logger.info("%s", comparison.table())
            results = {**results, "comparison": comparison.record()}
        # `evaluate` has written the file; this adds the names of the sample or the comparison.
        if results and (images or comparison is not None):
            write_evaluation(cfg.train.output_dir, results, subject_of(cfg, model))
        return results


@contextlib.contextmanager
def _results_claimed(cfg: DictConfig, folder: str) -> Iterator[None]:
    """Claim the folder; raise if results would replace a user's files, before they are computed."""
    with claimed(folder):
        if comm.is_main_process():
            check_own(Path(cfg.train.output_dir, name) for name in RESULTS)
        yield


def take_sample(cfg: DictConfig, number: int) -> str:
    """Replace the test set by a sample of it, and the output folder by one below it.

    Returns:
        Name of the sample and of its folder, such as ``on_200``.
    """
    cfg.dataloader.test.dataset = sample = EvenSample(cfg.dataloader.test.dataset, number)
    name = f"on_{len(sample)}"
    cfg.train.output_dir = str(Path(cfg.train.output_dir, name))
    return name


def _write_detections(cfg: DictConfig, model: nn.Module, report: LoadReport) -> None:
    dataset = cfg.dataloader.test.dataset
    writer = DetectionWriter(dataset, cfg.train.output_dir)
    log_start_up(StartUp(cfg, model, writer, "test", report))
    inference_on_dataset(model, build(cfg, "dataloader.test"), writer)
    if comm.is_main_process():
        logger.info(
            "%s has no labels, so there are no metrics: %d detections of its %d images are in %s",
            dataset.source,
            writer.num_detections,
            len(dataset),
            writer.path,
        )
