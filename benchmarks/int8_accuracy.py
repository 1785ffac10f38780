"""Accuracy and time of trained detectors as a user would run them: float32, int8, 1 bit.

    python benchmarks/int8_accuracy.py RUN ... [--calibration 64] [--rounds 3] [key=value ...]

A real-valued FCOS or RetinaNet is evaluated in float32 by torch and in int8 by onnxruntime and
OpenVINO, which quantise it with ranges from training images; a 1-bit detector is packed. All are
evaluated on the test set of their recipe and timed in turns on its first images, one at a time,
one thread, processor time. Test images have one size. Needs
``pip install onnx onnxscript onnxruntime openvino nncf``.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.analysis.cost.latency import time_models
from lowres_d2.deploy.int8 import (
    DenseNetwork,
    onnxruntime_int8,
    openvino_int8,
    with_network,
    with_onnxruntime,
    with_openvino,
    write_onnx,
)
from lowres_d2.deploy.one_bit import pack
from lowres_d2.engine.compare import first_images, metric_of
from lowres_d2.engine.evaluate import model_with_weights
from lowres_d2.engine.identity import recipe_of
from lowres_d2.layers.one_bit import BinaryWeights
from lowres_d2.modeling import LowResDetector
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import build

import torch
from detectron2.evaluation import inference_on_dataset
from omegaconf import DictConfig
from tabulate import tabulate
from torch import Tensor, nn

TIMED = 8  # images


def main() -> None:
    """Print a row for each way to run each detector."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("runs", nargs="+", metavar="RUN_OR_WEIGHTS", help="or key=value")
    parser.add_argument("--calibration", type=int, default=64, help="number of training images")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_intermixed_args()
    logging.getLogger("nncf").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    runs = [run for run in args.runs if "=" not in run]
    overrides = ["train.device=cpu", *(key for key in args.runs if "=" in key)]
    ways: dict[str, nn.Module] = {}
    accuracies: dict[str, Any] = {}
    for run in runs:
        cfg, model = trained(run, overrides)
        for way, network in detectors(cfg, model, args.calibration):
            name = f"{run}, {way}"
            ways[name] = network
            accuracies[name] = accuracy(cfg, network)
            print(name, accuracies[name], flush=True)
    images = first_images(build(cfg, "dataloader.test"), TIMED)
    timings = time_models(ways, images, args.rounds, time.process_time)
    rows = [[name, accuracies[name], 1e3 / timings[name].images_per_second] for name in ways]
    print(tabulate(rows, ["", cfg.train.best.val_metric, "ms"], "github", floatfmt=".2f"))


def trained(run: str, overrides: Sequence[str]) -> tuple[DictConfig, nn.Module]:
    """A recipe and its model with weights."""
    cfg, found = recipe_of(None, run, overrides)
    cfg.train.init_checkpoint = found.weights
    cfg.dataloader.test.batch_size = 1  # the only size that an engine's graph takes
    model, _ = model_with_weights(cfg)
    return cfg, model


@torch.no_grad()
def detectors(
    cfg: DictConfig, model: nn.Module, calibration: int
) -> Iterator[tuple[str, nn.Module]]:
    """A trained model in the ways in which it can be run."""
    dense = model.detector if isinstance(model, LowResDetector) else model
    if any(isinstance(part, BinaryWeights) for part in dense.modules()):
        yield "1 bit", in_place_of(model, pack(dense))
        return
    yield "float32", model
    images = normalised(dense, model, calibration_images(cfg, calibration))
    with tempfile.TemporaryDirectory() as folder:
        graph = write_onnx(DenseNetwork(dense), images[0], Path(folder, "network.onnx"))
        for name, network in {
            "int8 by onnxruntime": with_onnxruntime(onnxruntime_int8(graph, images), 1),
            "int8 by OpenVINO": with_openvino(openvino_int8(graph, images), 1),
        }.items():
            yield name, in_place_of(model, with_network(dense, network))


def in_place_of(model: nn.Module, detector: nn.Module) -> nn.Module:
    """The model with another detector in it."""
    if not isinstance(model, LowResDetector):
        return detector
    return LowResDetector(detector, model.resampler).eval()


def calibration_images(cfg: DictConfig, number: int) -> list[dict[str, Any]]:
    """Training images, as test images are read."""
    tested = cfg.dataloader.test.dataset
    cfg.dataloader.test.dataset = build(cfg, "dataloader.train.dataset")
    try:
        return first_images(build(cfg, "dataloader.test"), number)
    finally:
        cfg.dataloader.test.dataset = tested


def normalised(
    dense: nn.Module, model: nn.Module, images: Sequence[dict[str, Any]]
) -> list[Tensor]:
    """What the detector's backbone gets of images."""
    found: list[Tensor] = []
    handle = dense.backbone.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    for image in images:
        model([image])
    handle.remove()
    return found


def accuracy(cfg: DictConfig, model: nn.Module) -> float | None:
    """The recipe's metric on its test set."""
    with tempfile.TemporaryDirectory() as folder:
        cfg.train.output_dir = folder
        evaluator = build(cfg, "dataloader.evaluator")
        results = inference_on_dataset(model, build(cfg, "dataloader.test"), evaluator)
    return metric_of(results, cfg.train.best.val_metric)


if __name__ == "__main__":
    main()
