"""Progress through many images: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

PERIOD = 30.0  # seconds from line to line

T = TypeVar("T")


def with_progress(images: Iterable[T], total: int, name: str) -> Iterator[T]:
    """Yield what comes of images, one for each, and show on stderr how many are done.

    Args:
        images: the images, or what is made of them.
        total: their number.
        name: what the bar is called.
    """
    with image_progress(total, name=name) as done:
        for image in images:
            yield image
            done(1)


@contextlib.contextmanager
def image_progress(total: int, begun: int = 0, name: str = "") -> Iterator[Callable[[int], None]]:
    """Show on stderr how many images are done; gives what takes numbers of further ones.

    Args:
        total: number of images.
        begun: of these that were done before.
        name: what the bar is called.
    """
    if not sys.stderr.isatty():
        yield Lines(total, begun)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), "images, left", TimeRemainingColumn())
    columns = ("{task.description}", *columns) if name else columns
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total, completed=begun)
        yield lambda number: bar.advance(task, number)


class Lines:
    """Prints how many images are done, how many a second, and the time left.

    Args:
        total: number of images.
        begun: of these that were done before.
        clock: gives seconds.
    """

    def __init__(
        self, total: int, begun: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._begun, self._done, self._clock = total, begun, begun, clock
        self._start = self._said = clock()

    def __call__(self, number: int) -> None:
        """Count further images, and print a line if the last one was long ago."""
        self._done += number
        now = self._clock()
        if now - self._said < PERIOD or not self._begun < self._done < self._total:
            return
        self._said = now
        rate = (self._done - self._begun) / (now - self._start)
        left = datetime.timedelta(seconds=round((self._total - self._done) / rate))
        print(
            f"{self._done:,} of {self._total:,} images, {rate:.1f} a second, {left} left",
            file=sys.stderr,
            flush=True,
        )
