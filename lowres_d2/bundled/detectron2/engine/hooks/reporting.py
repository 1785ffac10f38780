"""Hooks that report: the time of iterations, and the event storage's contents through writers."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from detectron2.engine.trainer_base import HookBase
from detectron2.utils.events import EventWriter
from fvcore.common.timer import Timer


class IterationTimer(HookBase):
    """Record the seconds of each iteration as ``time``, and sum up at the end.

    What happens between this hook's ``after_step`` and its next ``before_step`` (evaluation,
    checkpoints) counts as time of hooks, so register it first.

    Args:
        warmup_iter: number of first iterations that do not count.
    """

    def __init__(self, warmup_iter: int = 3) -> None:
        self._warmup_iter = warmup_iter
        self._step_timer = Timer()
        self._total_timer = Timer()
        self._start_time = time.perf_counter()

    def before_train(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._start_time = time.perf_counter()
        self._total_timer.reset()
        self._total_timer.pause()

    def before_step(self) -> None:
        self._step_timer.reset()
        self._total_timer.resume()

    def after_step(self) -> None:
        iterations = self.trainer.storage.iter - self.trainer.start_iter + 1
        if iterations >= self._warmup_iter:
            self.trainer.storage.put_scalars(time=self._step_timer.seconds())
            self._total_timer.pause()
        else:
            self._restart()

    def after_train(self) -> None:
        logger = logging.getLogger(__name__)
        counted = self.trainer.storage.iter + 1 - self.trainer.start_iter - self._warmup_iter
        in_steps = self._total_timer.seconds()
        in_all = time.perf_counter() - self._start_time
        if counted > 0 and in_steps > 0:
            logger.info(
                f"Speed: {counted} iterations in {_clock(in_steps)} "
                f"({in_steps / counted:.4f} s per iteration)"
            )
        logger.info(f"Training took {_clock(in_all)}, {_clock(in_all - in_steps)} of it in hooks")


class PeriodicWriter(HookBase):
    """Call writers every ``period`` iterations and after the last.

    Args:
        writers: event writers.
        period: iterations between writes.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int = 20) -> None:
        for writer in writers:
            if not isinstance(writer, EventWriter):
                raise TypeError(
                    f"PeriodicWriter: expected EventWriter objects, got {type(writer).__name__}"
                )
        self._writers = writers
        self._period = period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self._period == 0 or done == self.trainer.max_iter:
            for writer in self._writers:
                writer.write()

    def after_train(self) -> None:
        for writer in self._writers:
            # Other hooks may have put results of a last evaluation into the storage.
            writer.write()
            writer.close()


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))
