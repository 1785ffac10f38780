"""The log of a run: everything in a file of each process, a part of it on the screen."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from lowres_d2 import __version__, detectron2_provider

from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info

LOG = "log.txt"
_FORMAT = "[%(asctime)s %(name)s] %(levelname)s: %(message)s"


@contextlib.contextmanager
def logging_to(output_dir: str | Path) -> Iterator[None]:
    """In this context log everything to ``output_dir/log.txt``, and a part of it to the screen.

    The file is opened by :func:`open_log_files`, when the run is sure to start; until then it keeps
    in memory what it is to contain, and a start that fails leaves no file. The screen shows this
    package's own messages and all warnings, of the main process only. Each further process writes
    a ``log.txt.rank<k>``.
    """
    rank = comm.get_rank()
    handlers: list[logging.Handler] = [
        _LogFile(Path(output_dir, f"{LOG}.rank{rank}" if rank else LOG))
    ]
    handlers[0].setFormatter(logging.Formatter(_FORMAT))
    if rank == 0:
        screen = _Screen()
        screen.setFormatter(logging.Formatter("%(message)s"))
        screen.addFilter(_is_for_the_screen)
        handlers.append(screen)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def open_log_files() -> None:
    """Open the log files of the contexts of :func:`logging_to` that are entered."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _LogFile):
            handler.open()


def log_environment() -> None:
    """Write versions, machine and Detectron2's provider to the log file, not to the screen."""
    text = f"lowres_d2 {__version__} on {detectron2_provider()} Detectron2\n{collect_env_info()}"
    # Not a logger below lowres_d2, whose messages the screen shows.
    logging.getLogger("environment").info("%s", text)


class _LogFile(logging.Handler):
    """Appends to a file, which is opened later; a full disk ends no run.

    Args:
        path: the file, in a folder that exists when it is opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._waiting = path, []
        self._file = self._failed = None

    def open(self) -> None:
        """Open the file, and write what was logged before."""
        with self.lock:
            if self._file is None:
                # Machines of a run may have folders of their own.
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # It appends: a resumed run continues its log. Unbuffered: a record is written, or
                # lost, at once.
                self._file = self._path.open("ab", buffering=0)
                for line in self._waiting:
                    self._write(line)
                self._waiting.clear()

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        if self._file is None:
            self._waiting.append(line)
        else:
            self._write(line)

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            if self._failed is None:  # said once
                self._failed = error
                with contextlib.suppress(OSError):
                    print(
                        f"warning: {self._path} cannot be written ({error.strerror}): lines of the "
                        "log are lost; free disk space",
                        file=sys.stderr,
                        flush=True,
                    )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


class _Screen(logging.Handler):
    """Prints to the current ``sys.stdout``, which a live progress line may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), flush=True)
        except BrokenPipeError:  # nobody reads any more, as after `| head`
            raise
        except OSError:  # a file on a full disk, say: the log has the line
            pass


def _is_for_the_screen(record: logging.LogRecord) -> bool:
    if record.exc_info:  # the program prints one line, or a defect's traceback, when it ends
        return False
    return record.levelno >= logging.WARNING or record.name.startswith("lowres_d2")
