"""Training runs that are killed: each is forked from a warm server, which has imported everything.

Importing torch and this project takes longer than the toy run itself; the server does it once. It
computes nothing, so that forking it is safe.
"""

import json
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

from lowres_d2.engine.checkpoint import RunCheckpointer
from lowres_d2.engine.processes.log_files import logging_to
from lowres_d2.engine.train import train
from lowres_d2.recipes.load import load_recipe

# Imported during a run, by the engine or its dependencies.
import hotcoco  # noqa: F401
import torch
import torch.utils.tensorboard

ROOT = Path(__file__).resolve().parents[2]
WRITING = ("os.rename", "os.remove", "os.mkdir")  # and "open" for writing


@dataclass(frozen=True)
class Kill:
    """A moment at which a run kills itself; with both None it ends, or is killed from outside.

    Attributes:
        change: the run dies before the change of this number to a file or folder.
        save: the run dies while it writes the checkpoint of this number, and
        byte: number of bytes of that checkpoint that are written by then.
    """

    change: int | None = None
    save: int | None = None
    byte: int = 0


def start_server():
    """The context whose processes are forked from the warm server, of one thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    # The server looks for modules where its environment says, not where this process does.
    places = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(ROOT)])}
    with patch.dict(os.environ, places | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}):
        forkserver.ensure_running()
    ready = context.Process(target=os.getpid)
    ready.start()
    ready.join()
    return context


def run(recipe, overrides, folder, resume, kill):
    """Train in a process of its own until the end, or until the run kills itself.

    Args:
        recipe: file of the recipe.
        overrides: ``key=value``.
        folder: takes the run's own folder ``run``, and beside it ``notes.txt`` (iterations of the
            checkpoints, and the number of changes to files) and ``screen.txt``.
        resume: whether to resume from the last checkpoint.
        kill: when the run kills itself.
    """
    os.chdir(ROOT)
    torch.set_num_threads(1)
    folder = Path(folder)
    with (folder / "screen.txt").open("a") as screen:
        os.dup2(screen.fileno(), sys.stdout.fileno())
        os.dup2(screen.fileno(), sys.stderr.fileno())
    notes = (folder / "notes.txt").open("a", buffering=1)
    _note_saves(notes)
    if kill.save is not None:
        _die_in_a_save(kill)
    changes = _Changes(folder, kill)
    sys.addaudithook(changes)
    cfg = load_recipe(recipe, [*overrides, f"train.output_dir={folder / 'run'}"])
    with logging_to(cfg.train.output_dir):
        train(cfg, resume)
    notes.write(json.dumps({"changes": changes.count}) + "\n")


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


class _Changes:
    """An audit hook: counts what changes files below a folder, and dies before one of them."""

    def __init__(self, folder, kill):
        self.folder, self.kill, self.count = str(folder / "run"), kill, 0

    def __call__(self, event, arguments):
        if event == "open":
            changes = isinstance(arguments[1], str) and not arguments[1].startswith("r")
        else:
            changes = event in WRITING
        if changes and str(arguments[0]).startswith(self.folder):
            if self.count == self.kill.change:
                _die()
            self.count += 1


def _note_saves(notes):
    save = RunCheckpointer.save

    def noted(self, name, **kwargs):
        save(self, name, **kwargs)
        notes.write(
            json.dumps({"saved": self.checkpointables["trainer"].state_dict()["iteration"]}) + "\n"
        )

    RunCheckpointer.save = noted


def _die_in_a_save(kill):
    save, left = torch.save, [kill.save]

    def mortal(data, file):
        left[0] -= 1
        save(data, file if left[0] >= 0 else _Mortal(file, kill.byte))

    torch.save = mortal


class _Mortal:
    """A file that its process does not survive writing to."""

    def __init__(self, file, left):
        self._file, self._left = file, left

    def write(self, data):
        self._left -= len(data)
        if self._left <= 0:
            self._file.write(bytes(data)[: self._left or None])
            self._file.flush()
            _die()
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)
