"""Show a run's progress: one live line on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import datetime
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from lowres_d2.evaluation.shown import BOXES, ShownMetrics

from detectron2.utils.events import EventStorage, EventWriter, get_event_storage

logger = logging.getLogger(__name__)


PACED = 100  # iterations whose time the time left is computed from


class ConsoleWriter(EventWriter):
    """Shows iteration, time left, losses, learning rate, and the last evaluation's metrics.

    Losses are those that the last iteration recorded, each averaged over the same iterations: the
    recent ones that recorded these very losses. So they add up to the total, and those of an
    earlier stage are gone.

    Args:
        max_iter: iterations of the run, for the time left.
        live: update one line in place; None: if stdout is a terminal.
        window: most iterations over which losses are averaged.
        shown: metrics of an evaluation.
    """

    def __init__(
        self,
        max_iter: int,
        live: bool | None = None,
        window: int = 20,
        shown: ShownMetrics = BOXES,
    ) -> None:
        self._max_iter, self._window, self._shown = max_iter, window, shown
        self._live = sys.stdout.isatty() if live is None else live
        self._progress: Any = None

    def write(self) -> None:
        storage = get_event_storage()
        last, losses = recent_losses(storage, self._window)
        done = storage.iter if last is None else last + 1  # a run that only evaluates again: none
        text = self._describe(storage, done, losses)
        if not self._live:
            logger.info("%s", text)
            return
        if self._progress is None:
            self._open()
        self._progress.update(self._task, completed=done, description=text)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _open(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(BarColumn(20), TextColumn("{task.description}"))
        self._task = self._progress.add_task("", total=self._max_iter)
        self._progress.start()

    def _describe(self, storage: EventStorage, done: int, losses: Mapping[str, float]) -> str:
        parts = [f"iteration {done}/{self._max_iter}"]
        histories, latest = storage.histories(), storage.latest()
        if "time" in histories:
            times = [seconds for seconds, _ in histories["time"].values()[-PACED:]]
            left = _pace(times) * (self._max_iter - done)
            parts.append(f"eta {datetime.timedelta(seconds=int(left))}")
            parts.append(f"{histories['time'].avg(self._window):.3f} s/it")
        parts += [f"{name} {value:.4g}" for name, value in losses.items()]
        if "lr" in latest:
            parts.append(f"lr {latest['lr'][0]:.2g}")
        for name in self._shown.names:
            if name in latest:
                value, iteration = latest[name]
                parts.append(f"{name.split('/')[1]} {value:.1f} (at {min(iteration + 1, done)})")
        return "  ".join(parts)


def recent_losses(storage: EventStorage, window: int) -> tuple[int | None, dict[str, float]]:
    """The last iteration that recorded losses, and the mean of each of its losses.

    The mean is over those of the last ``window`` iterations that recorded the same losses.
    """
    recorded: dict[int, dict[str, float]] = {}
    for name, history in storage.histories().items():
        # [metric] marks diagnostics, such as the losses of objectives before their weights.
        if "loss" in name and not name.startswith("[metric]"):
            for value, iteration in history.values()[-window:]:
                recorded.setdefault(int(iteration), {})[name] = value
    if not recorded:
        return None, {}
    last = max(recorded)
    alike = [
        losses
        for iteration, losses in recorded.items()
        if iteration > last - window and losses.keys() == recorded[last].keys()
    ]
    return last, {name: fmean(losses[name] for losses in alike) for name in recorded[last]}


def _pace(times: Sequence[float]) -> float:
    """Mean time of an iteration, without the slowest tenth: a slow beginning, a busy moment."""
    return fmean(sorted(times)[: max(1, len(times) - math.ceil(len(times) / 10))])
