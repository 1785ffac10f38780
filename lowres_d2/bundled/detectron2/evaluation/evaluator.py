"""Running a model over a data set, and what an evaluator of its outputs is."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from detectron2.utils.comm import get_world_size, is_main_process
from detectron2.utils.logger import log_every_n_seconds
from torch import nn

WARMUP_BATCHES = 5  # their times are left out: they fill caches and choose kernels


class DatasetEvaluator:
    """Takes in (inputs, outputs) batch by batch, then gives metrics."""

    def reset(self) -> None:
        """Forget everything; called before a new round."""

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Take in one batch.

        Args:
            inputs: what the model was given.
            outputs: what it gave, one an input.
        """

    def evaluate(self) -> Mapping[str, Any] | None:
        """The metrics of what was taken in by all ranks, ``{task: {metric: value}}``.

        Ranks other than the main one may return None or nothing useful.
        """


class DatasetEvaluators(DatasetEvaluator):
    """Several evaluators as one.

    Args:
        evaluators: their tasks must have different names.
    """

    def __init__(self, evaluators: Sequence[DatasetEvaluator]) -> None:
        super().__init__()
        self._evaluators = evaluators

    def reset(self) -> None:
        for evaluator in self._evaluators:
            evaluator.reset()

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        for evaluator in self._evaluators:
            evaluator.process(inputs, outputs)

    def evaluate(self) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for evaluator in self._evaluators:
            result = evaluator.evaluate()  # on every rank: it may gather
            if not is_main_process() or result is None:
                continue
            twice = sorted(merged.keys() & result.keys())
            if twice:
                raise ValueError(f"DatasetEvaluators: several evaluators give {', '.join(twice)}")
            merged.update(result)
        return merged


@dataclass
class _Stopwatch:
    """Seconds spent on the data, the model and the evaluator since the last reset."""

    data: float = 0.0
    compute: float = 0.0
    evaluate: float = 0.0
    batches: int = 0

    @property
    def total(self) -> float:
        return self.data + self.compute + self.evaluate

    def describe(self) -> str:
        per = max(self.batches, 1)
        return (
            f"data {self.data / per:.4f}, model {self.compute / per:.4f}, evaluator "
            f"{self.evaluate / per:.4f}, in all {self.total / per:.4f} s a batch"
        )


def inference_on_dataset(
    model: nn.Module | Callable[[Any], Any],
    data_loader: Any,
    evaluator: DatasetEvaluator | list[DatasetEvaluator] | None,
    callbacks: Mapping[str, Callable[[], Any]] | None = None,
) -> Mapping[str, Any]:
    """Run the model over a data set once and evaluate; logs the speed.

    Args:
        model: a module, which runs in eval mode and is put back, or any callable on a batch.
        data_loader: has a length; gives batches.
        evaluator: one, several, or None to measure speed only.
        callbacks: functions called at ``on_start``, ``before_inference``, ``after_inference`` (each
            batch) and ``on_end``.

    Returns:
        The evaluator's metrics; empty where it gave none.
    """
    logger = logging.getLogger(__name__)
    total = len(data_loader)
    logger.info(f"Inference on {total} batches")
    if evaluator is None or isinstance(evaluator, list):
        evaluator = DatasetEvaluators(evaluator or [])
    evaluator.reset()

    def call(moment: str) -> None:
        if callbacks and moment in callbacks:
            callbacks[moment]()

    warmup = min(WARMUP_BATCHES, total - 1)
    watch = _Stopwatch()
    with contextlib.ExitStack() as stack:
        if isinstance(model, nn.Module):
            stack.enter_context(inference_context(model))
        stack.enter_context(torch.no_grad())
        call("on_start")
        last = time.perf_counter()
        for index, inputs in enumerate(data_loader):
            if index == warmup:
                watch = _Stopwatch()
                last = time.perf_counter()
            fetched = time.perf_counter()
            call("before_inference")
            outputs = model(inputs)
            call("after_inference")
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            computed = time.perf_counter()
            evaluator.process(inputs, outputs)
            processed = time.perf_counter()

            watch.data += fetched - last
            watch.compute += computed - fetched
            watch.evaluate += processed - computed
            watch.batches += 1
            per_batch = watch.total / watch.batches
            if index >= warmup * 2 or per_batch > 5:
                left = timedelta(seconds=int(per_batch * (total - index - 1)))
                log_every_n_seconds(
                    logging.INFO,
                    f"Inference done {index + 1}/{total}: {watch.describe()}; {left} left",
                    n=5,
                )
            last = time.perf_counter()
        call("on_end")

    logger.info(f"Inference took {watch.describe()}, on {get_world_size()} process(es)")
    results = evaluator.evaluate()
    return {} if results is None else results


@contextlib.contextmanager
def inference_context(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, the mode before it afterwards.

    Args:
        model: a module.
    """
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
