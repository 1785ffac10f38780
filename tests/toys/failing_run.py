"""``train_net.py``, of which one process fails once, at an iteration that a variable gives.

``FAILS`` is ``<rank> <iteration> <way> <file>``: the file is created at the failure, so that a
restarted run does not fail again.
"""

import os
import signal
from pathlib import Path

from lowres_d2.programs.train import main

from detectron2.engine import SimpleTrainer
from detectron2.utils import comm

_run_step = SimpleTrainer.run_step


def run_step(trainer):
    if "FAILS" in os.environ:
        rank, iteration, way, file = os.environ["FAILS"].split(" ", 3)
        now = (comm.get_rank(), trainer.iter) == (int(rank), int(iteration))
        if now and not Path(file).exists():
            Path(file).touch()
            fail(way)
    _run_step(trainer)


def fail(way):
    if way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "mistake":
        raise ValueError("17.png: no such image")
    raise AttributeError("a defect")


SimpleTrainer.run_step = run_step

if __name__ == "__main__":
    main()
