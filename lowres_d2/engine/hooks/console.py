"""Show a run's progress: one live line on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import datetime
import logging
import sys
from typing import Any

from detectron2.utils.events import EventStorage, EventWriter, get_event_storage

logger = logging.getLogger(__name__)


class ConsoleWriter(EventWriter):
    """Shows iteration, time left, losses, learning rate, and AP once there is one.

    Args:
        max_iter: iterations of the run, for the time left.
        live: update one line in place; None: if stdout is a terminal.
        window: iterations over which losses are smoothed (median).
    """

    def __init__(self, max_iter: int, live: bool | None = None, window: int = 20) -> None:
        self._max_iter, self._window = max_iter, window
        self._live = sys.stdout.isatty() if live is None else live
        self._progress: Any = None

    def write(self) -> None:
        storage = get_event_storage()
        text = self._describe(storage)
        if not self._live:
            logger.info("%s", text)
            return
        if self._progress is None:
            self._open()
        self._progress.update(
            self._task, completed=min(storage.iter + 1, self._max_iter), description=text
        )

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _open(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(BarColumn(20), TextColumn("{task.description}"))
        self._task = self._progress.add_task("", total=self._max_iter)
        self._progress.start()

    def _describe(self, storage: EventStorage) -> str:
        # After the last iteration the trainer's counter is max_iter already.
        done = min(storage.iter + 1, self._max_iter)
        parts = [f"iteration {done}/{self._max_iter}"]
        histories = storage.histories()
        if "time" in histories:
            seconds = histories["time"].global_avg() * (self._max_iter - done)
            parts.append(f"eta {datetime.timedelta(seconds=int(seconds))}")
            parts.append(f"{histories['time'].avg(self._window):.3f} s/it")
        # [metric] marks diagnostics, such as the losses of objectives before their weights.
        parts += [
            f"{name} {history.median(self._window):.4g}"
            for name, history in histories.items()
            if "loss" in name and not name.startswith("[metric]")
        ]
        if "lr" in histories:
            parts.append(f"lr {histories['lr'].latest():.2g}")
        for name in ("bbox/AP", "bbox/AP50"):
            if name in histories:
                parts.append(f"{name.split('/')[1]} {histories[name].latest():.1f}")
        return "  ".join(parts)
