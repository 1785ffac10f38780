"""Device, processes and log files of a run."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from lowres_d2 import __version__, detectron2_provider

import torch
import torch.distributed as dist
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info

TIMEOUT = datetime.timedelta(minutes=30)


def pick_device(wish: str) -> torch.device:
    """The device a recipe asks for; ``auto`` takes a GPU where there is one.

    Raises:
        ValueError: it is not there; the message lists what is.
    """
    have = ["cpu"]
    if torch.cuda.is_available():
        have += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        have.append("mps")
    if wish == "auto":
        wish = "cuda" if "cuda" in have else "cpu"
    if wish not in have:
        raise ValueError(
            f"train.device={wish}: not on this machine, which has {', '.join(have)}; "
            "use train.device=auto"
        )
    if wish == "cuda":
        return torch.device("cuda", comm.get_local_rank())
    return torch.device(wish)


def join_torchrun() -> bool:
    """Join the process group that ``torchrun`` (or SLURM-like variables) describes, if any.

    Returns:
        Whether this process belongs to one.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return False
    if dist.is_initialized():
        return True
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    comm.create_local_process_group(int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    return True


def log_environment() -> None:
    """Write versions, machine and Detectron2's provider to the log file, not to the screen."""
    report = collect_env_info()
    words = f"lowres_d2 {__version__} on {detectron2_provider()} Detectron2\n{report}"
    logging.getLogger("environment").info("%s", words)


class _Screen(logging.Handler):
    """Prints to what ``sys.stdout`` is at the moment: a live line may stand in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


@contextlib.contextmanager
def logging_to(output_dir: str | Path) -> Iterator[None]:
    """While it lasts, log everything to ``output_dir/log.txt`` and what matters to the screen.

    On the screen stand this package's own lines and everybody's warnings, of the main process only;
    each further process writes a ``log.txt.rank<k>``.

    Raises:
        OSError: the folder cannot be written.
    """
    folder, rank = Path(output_dir), comm.get_rank()
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(folder / (f"log.txt.rank{rank}" if rank else "log.txt"))
    file.setFormatter(logging.Formatter("[%(asctime)s %(name)s] %(levelname)s: %(message)s"))
    handlers: list[logging.Handler] = [file]
    if rank == 0:
        screen = _Screen()
        screen.setFormatter(logging.Formatter("%(message)s"))
        screen.addFilter(lambda r: r.levelno >= logging.WARNING or r.name.startswith("lowres_d2"))
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
