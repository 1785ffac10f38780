"""Curves of a run that cannot be written end no run: the next checkpoint is worth more."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from detectron2.utils.events import EventWriter

logger = logging.getLogger(__name__)


class LastingWriter(EventWriter):
    """A writer of Detectron2's whose file may be on a full disk; warns of that once.

    Args:
        writer: the writer.
        file: what it writes, for the warning.
        retries: whether it writes on after a failure.
    """

    def __init__(self, writer: EventWriter, file: Path, retries: bool = True) -> None:
        self._writer, self._file, self._retries = writer, file, retries
        self._failed = False

    def write(self) -> None:
        if self._failed and not self._retries:
            return
        with self._surviving():
            self._writer.write()

    def close(self) -> None:
        with self._surviving():
            self._writer.close()

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._failed:  # said once, and not for each of its lines
                self._failed = True
                logger.warning(
                    "%s cannot be written (%s): %s of the curves is lost; free disk space",
                    self._file,
                    error.strerror or error,
                    "a part" if self._retries else "the rest",
                )


@contextlib.contextmanager
def without_writers_tracebacks() -> Iterator[None]:
    """Print no traceback of TensorBoard's threads: its writer raises their error again in ours."""
    previous = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        package = type(arguments.thread).__module__.partition(".")[0]
        if not (package == "tensorboard" and isinstance(arguments.exc_value, OSError)):
            previous(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = previous
