"""Seconds that models take, measured so that a busy or slowing machine favours none of them.

Models take turns image by image and change places every round; each is warmed up on every
image, since kernels are chosen for its size. Counted is the whole model: downsampling, network
and post-processing; decoding files is not.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowres_d2.analysis.cost.parts import metering

import torch
from torch import nn


@dataclass(frozen=True)
class Timing:
    """Seconds of one model.

    Attributes:
        seconds: for each image, those of each round.
    """

    seconds: Sequence[Sequence[float]]

    @property
    def images_per_second(self) -> float:
        """Images, one at a time, over the sum of their median times."""
        return len(self.seconds) / sum(statistics.median(times) for times in self.seconds)

    def times_faster_than(self, other: Timing) -> float:
        """Median, over images and rounds, of the other's time by this one's."""
        return statistics.median(
            slow / fast
            for mine, others in zip(self.seconds, other.seconds, strict=True)
            for fast, slow in zip(mine, others, strict=True)
        )


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
        rounds: how often each model sees each image, after one time that does not count.
        clock: seconds; ``time.thread_time`` counts only those that this thread computed, which
            holds on a shared machine, with ``torch.set_num_threads(1)`` and on a CPU.
    """
    seconds = {name: [[] for _ in images] for name in models}
    for model in models.values():
        model.eval()
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
        rounds: how often each image is seen, after one time that does not count.
        clock: as of :func:`time_models`.
    """

    def meter() -> float:
        _wait_for_gpu()
        return clock()

    model.eval()
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


def _seconds(model: nn.Module, image: dict[str, Any], clock: Callable[[], float]) -> float:
    _wait_for_gpu()
    start = clock()
    model([image])
    _wait_for_gpu()
    return clock() - start


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
