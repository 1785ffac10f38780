"""Latency of models, measured so that a machine that is busy or slows down favours none of them.

Models take turns on each image, in reversed order every other round; each is warmed up on every
image, because kernels are chosen for its size. The time is that of the whole model: downsampling,
network and post-processing, without decoding of files. On a CPU, 1-bit layers are packed, as they
are used: in training they compute with floats, more slowly than real-valued ones.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowres_d2.analysis.cost.parts import metering
from lowres_d2.deploy.one_bit import pack
from lowres_d2.layers.one_bit import BinaryWeights

import torch
from torch import nn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """Latency of one model.

    Attributes:
        seconds: for each image, the seconds of each round.
    """

    seconds: Sequence[Sequence[float]]

    @property
    def images_per_second(self) -> float:
        """Number of images, run one at a time, over the sum of their median times."""
        return len(self.seconds) / sum(statistics.median(times) for times in self.seconds)

    def times_faster_than(self, other: Timing) -> float:
        """The quotient of both ``images_per_second``, which tables show beside it."""
        return self.images_per_second / other.images_per_second


@torch.no_grad()
def time_models(
    models: Mapping[str, nn.Module],
    images: Sequence[dict[str, Any]],
    rounds: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time models on the same images, one at a time.

    Args:
        models: by name; put into evaluation mode.
        images: Detectron2 inputs.
        rounds: timed runs of each model on each image, after one untimed run.
        clock: function that returns seconds. ``time.thread_time`` counts processor time of this
            thread alone, which other programs do not disturb: for one thread
            (``torch.set_num_threads(1)``) on a CPU.
    """
    seconds = {name: [[] for _ in images] for name in models}
    models = {name: as_used(model) for name, model in models.items()}
    for index, image in enumerate(images):
        for number in range(rounds + 1):
            order = list(models) if number % 2 else list(reversed(models))
            for name in order:
                spent = _seconds(models[name], image, clock)
                if number:
                    seconds[name][index].append(spent)
    return {name: Timing(times) for name, times in seconds.items()}


@torch.no_grad()
def time_parts(
    model: nn.Module,
    images: Sequence[dict[str, Any]],
    rounds: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds by part (``lowres_d2.analysis.cost.parts``): mean over images, median of rounds.

    Args:
        model: put into evaluation mode.
        images: Detectron2 inputs.
        rounds: timed runs on each image, after one untimed run.
        clock: see :func:`time_models`.
    """

    def meter() -> float:
        _wait_for_gpu()
        return clock()

    model = as_used(model)
    found: dict[str, list[float]] = defaultdict(list)
    for image in images:
        model([image])
        spent: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            with metering(model, meter) as seconds:
                model([image])
            for part, amount in seconds.items():
                spent[part].append(amount)
        for part, amounts in spent.items():
            found[part].append(statistics.median(amounts))
    return {part: sum(amounts) / len(images) for part, amounts in found.items()}


def as_used(model: nn.Module) -> nn.Module:
    """A model in evaluation mode, its 1-bit layers packed if it is on a CPU and they can be."""
    model.eval()
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if not on_cpu or not any(isinstance(part, BinaryWeights) for part in model.modules()):
        return model
    try:
        return pack(model)
    except ValueError as error:
        logger.warning("1-bit layers are timed as in training, not packed: %s", error)
        return model


def _seconds(model: nn.Module, image: dict[str, Any], clock: Callable[[], float]) -> float:
    _wait_for_gpu()
    start = clock()
    model([image])
    _wait_for_gpu()
    return clock() - start


def _wait_for_gpu() -> None:
    # GPU kernels still run when the call that started them returns.
    if torch.cuda.is_available():
        torch.cuda.synchronize()
