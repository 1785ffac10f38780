"""Runs killed at fifty moments, also while they write a checkpoint, resume to the same end.

``kill -9`` comes after a time, before a change to any file of the run, or at some byte of a
checkpoint; one in five runs is killed again after it was resumed.
"""

import json
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.engine.checkpoint import read_checkpoint
from lowres_d2.recipes.changes import changed_settings

import numpy as np
import pytest
import torch

from toys.data import ToyData
from toys.runs import PLAIN, STAGED
from toys.warm_runs import Kill, run, start_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs fork and kill -9"),
]

# Recipe and its overrides. The stages have 4 and 2 iterations.
RUNS = {
    "staged": (STAGED, "train.checkpointer.period=1"),
    "averaged": (
        STAGED,
        "train.checkpointer.period=2",
        "train.eval_period=2",
        "train.ema.enabled=true",
        "train.ema.decay=0.5",
        "train.clip_gradients.enabled=true",
    ),
    "plain": (
        PLAIN,
        "train.checkpointer.period=2",
        "train.checkpointer.max_to_keep=1",
        "train.eval_period=3",
    ),
}
ITERATIONS = 6


@dataclass(frozen=True)
class Case:
    """A run to be killed; shares are of its duration, of its changes to files, or checkpoints."""

    run: str
    kind: str
    share: float
    share_of_file: float
    again: bool


def cases():
    random = np.random.default_rng(2024)
    kinds = ["time"] * 17 + ["change"] * 16 + ["byte"] * 17
    names = list(RUNS)
    # Spread evenly over the run, with a random offset in each part.
    for place, kind in enumerate(kinds):
        within = kinds[:place].count(kind)
        share = (within + random.random()) / kinds.count(kind)
        share_of_file = random.choice([0.0, 0.001, *random.random(4), 0.999])
        yield Case(names[place % 3], kind, share, float(share_of_file), place % 5 == 0)


CASES = list(cases())


@dataclass
class Run:
    """One folder of a run: its arguments, and how it ended."""

    folder: Path
    recipe: str
    overrides: list
    server: object
    exit_code: int | None = None
    seconds: float = 0.0

    def go(self, kill=None, resume=False, end_after=None):
        """Run until the end, or until it is killed; returns the same object."""
        self.folder.mkdir(exist_ok=True)
        arguments = (self.recipe, self.overrides, self.folder, resume, kill or Kill())
        process = self.server.Process(target=run, args=arguments)
        started = time.monotonic()
        process.start()
        process.join(end_after)
        process.kill()
        process.join()
        self.exit_code, self.seconds = process.exitcode, time.monotonic() - started
        return self

    @property
    def output(self):
        return self.folder / "run"

    def notes(self, key):
        path = self.folder / "notes.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)[key] for line in lines if key in json.loads(line)]

    @property
    def screen(self):
        return (self.folder / "screen.txt").read_text()

    def files(self):
        """Names of the files in its folder.

        Without those that contain a process or a time, and without the folders that keep what was
        written before a kill that came before the first checkpoint.
        """
        others = ("events.out", "earlier")
        return {p.name for p in self.output.iterdir() if not p.name.startswith(others)}


@pytest.fixture(scope="module")
def make_run(tmp_path_factory):
    data = ToyData(tmp_path_factory.mktemp("data"))
    data.write()
    server = start_server()

    def make(name, folder):
        recipe, *changes = RUNS[name]
        overrides = [*data.overrides(), f"train.max_iter={ITERATIONS}", *changes]
        return Run(folder, recipe, overrides, server)

    return make


@pytest.fixture(scope="module")
def uninterrupted(make_run, tmp_path_factory):
    """A run of each kind that is not killed, made when it is first needed."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = make_run(name, tmp_path_factory.mktemp(name) / "whole").go()
            assert made[name].exit_code == 0, made[name].screen
        return made[name]

    return get


def killed(case, make_run, whole, folder):
    """A run that was killed as the case says."""
    moment = case.share * whole.seconds
    if case.kind == "time":
        for attempt in range(10):  # it may end sooner than the uninterrupted one did
            found = make_run(case.run, folder / str(attempt)).go(end_after=moment)
            if found.exit_code != 0:
                break
            moment *= 0.8
        return found
    if case.kind == "change":
        kill = Kill(change=int(case.share * whole.notes("changes")[0]))
    else:
        saves = len(whole.notes("saved"))
        size = (whole.output / "model_final.pth").stat().st_size
        kill = Kill(save=int(case.share * saves), byte=int(case.share_of_file * size))
    return make_run(case.run, folder / "0").go(kill)


def last_saved(found):
    return max(found.notes("saved"), default=-1)


def check_checkpoints(found):
    """Every checkpoint is intact, and the last one is as new as any that was saved."""
    for path in found.output.glob("model_*.pth"):
        read_checkpoint(path)
    if last_saved(found) >= 0:
        name = (found.output / "last_checkpoint").read_text()
        assert read_checkpoint(found.output / name)["trainer"]["iteration"] >= last_saved(found)


def assert_same(a, b, where=""):
    """The contents of two checkpoints are equal, bit for bit."""
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for k, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}[{k}]")
    else:
        assert type(a) is type(b) and a == b, where


def check_same_end(found, whole):
    """The same files with the same contents, and no others."""
    assert found.files() == whole.files()
    for path in whole.output.glob("model_*.pth"):
        ours, theirs = read_checkpoint(path), read_checkpoint(found.output / path.name)
        (change,) = changed_settings(ours.pop("recipe"), theirs.pop("recipe"))
        assert change.startswith("train.output_dir ")
        assert_same(ours, theirs, path.name)
    for name in ("last_checkpoint", "evaluation.json", "coco_instances_results.json"):
        assert (found.output / name).read_bytes() == (whole.output / name).read_bytes()
    logged = [json.loads(x) for x in (found.output / "metrics.json").read_text().splitlines()]
    # Iterations are logged after their checkpoint: the last line before each kill may be missing.
    missing = set(range(ITERATIONS)) - {line["iteration"] for line in logged}
    assert missing <= {start - 1 for start in resumed_from(found)}


def resumed_from(found):
    """Iterations at which the run reported that it resumed."""
    return list(map(int, re.findall(r"resumed at iteration (\d+)", found.screen)))


@pytest.mark.parametrize(
    "case",
    CASES,
    ids=lambda c: f"{c.run}-{c.kind}-{c.share:.2f}" + "-twice" * c.again,
)
def test_a_killed_run_ends_as_an_uninterrupted_one(case, make_run, uninterrupted, tmp_path):
    whole = uninterrupted(case.run)
    found = killed(case, make_run, whole, tmp_path)
    assert found.exit_code == -signal.SIGKILL, found.screen
    if found.output.exists():
        check_checkpoints(found)
    saved = last_saved(found)
    if case.again:
        found.go(Kill(change=int(12 * case.share_of_file)), resume=True)
        assert found.exit_code == -signal.SIGKILL, found.screen
        check_checkpoints(found)
        assert last_saved(found) >= saved
        saved = last_saved(found)
    found.go(resume=True)
    assert found.exit_code == 0, found.screen
    if saved >= 0:
        assert resumed_from(found)[-1] > saved
    check_same_end(found, whole)
