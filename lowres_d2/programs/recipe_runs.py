"""Runs of recipes in folders of their own; a finished run is not repeated."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.views import model_view, stored_view_of
from lowres_d2.analysis.run import Run
from lowres_d2.atomic import atomic_path
from lowres_d2.engine.build import build_datasets
from lowres_d2.engine.checkpoint import RunState, read_checkpoint
from lowres_d2.engine.evaluate import evaluate
from lowres_d2.engine.evaluation_file import read_evaluation, subject_of
from lowres_d2.engine.processes.folder_lock import folder_lock
from lowres_d2.engine.processes.log_files import logging_to
from lowres_d2.engine.run_folder import DONE, LOCK, MADE_FROM, METRICS, RECIPE_DIGEST, is_run
from lowres_d2.engine.stages import StageSchedule, with_lengths
from lowres_d2.engine.train import train
from lowres_d2.engine.trained import trained_model
from lowres_d2.evaluation.shown import ShownMetrics
from lowres_d2.modeling.run_weights import FINAL
from lowres_d2.modeling.without_values import without_values
from lowres_d2.numbered import next_numbered
from lowres_d2.own_files import content_digest
from lowres_d2.programs.made_from import DATA, RECIPE, made_from, what_changed
from lowres_d2.programs.mistakes import one_line
from lowres_d2.programs.quick_benchmarks import Row
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.saved_configs import CONFIG

from detectron2.config import instantiate
from omegaconf import DictConfig
from torch import nn


@dataclass(frozen=True)
class FinishedRun:
    """A recipe that was trained to its end.

    Attributes:
        recipe: hash of the whole recipe.
        iterations: number of training iterations.
        seconds: wall time of training and evaluation; None where an interrupted run was resumed,
            whose whole time is not known.
        core_seconds: processor time, loader processes included; None likewise.
        results: of the last evaluation.
    """

    recipe: str
    iterations: int
    seconds: float | None
    core_seconds: float | None
    results: dict[str, Any]


@dataclass(frozen=True)
class RecipeRun:
    """A recipe to be trained in a folder.

    Attributes:
        title: its name in tables and figures.
        recipe: its file.
        folder: where it is trained.
        overrides: ``key=value``.
    """

    title: str
    recipe: str
    folder: Path
    overrides: Sequence[str] = ()

    @property
    def weights(self) -> Path:
        """The checkpoint at its end."""
        return self.folder / FINAL

    @property
    def predictions(self) -> Path:
        """What it has found on the test images."""
        return self.folder / self.shown.predictions

    @cached_property
    def evaluator(self) -> Any:
        """The evaluator of its test images."""
        cfg = self.config()
        build_datasets(cfg, ["test"])
        return build(cfg, "dataloader.evaluator")

    @property
    def shown(self) -> ShownMetrics:
        """Which metrics its evaluator shows."""
        return ShownMetrics.of(self.evaluator)

    def config(self) -> DictConfig:
        """The recipe with its overrides, trained in its folder; a copy at every call."""
        return self._config.copy()

    @cached_property
    def _config(self) -> DictConfig:
        return load_recipe(self.recipe, [*self.overrides, f"train.output_dir={self.folder}"])

    def check(self) -> None:
        """Check what needs neither data nor weights: overrides, arguments, stages.

        Raises:
            KeyError, ValueError: something does not fit; names the recipe.
        """
        try:
            cfg = self.config()
            stages = with_lengths(build(cfg, "train.stages"), cfg.train.max_iter)
            build(cfg, "lr_multiplier")
            with without_values():
                model = build(cfg, "model")
            StageSchedule(model, stages, RunState(model, ""))
        except (KeyError, ValueError) as error:
            kind = KeyError if isinstance(error, KeyError) else ValueError
            raise kind(f"{self.recipe}: {one_line(error)}") from error

    def finish(self) -> FinishedRun:
        """Train to the end, unless an earlier call did from the same recipe, data and weights.

        An interrupted run is resumed; a run of other ones is renamed and kept.

        Raises:
            FolderInUse: another run writes into the folder.
            FileExistsError: the folder is no run's.
        """
        cfg = self.config()
        self.check_folder()
        made, known = made_from(cfg), _noted(self.folder)
        done = _read(self.folder / DONE)
        why = self._why_anew(made, known, done)
        if why:
            _make_room(self.folder, f"{self.title}: {why}")
        elif done and self.weights.is_file():
            print(f"done before: {self.folder}")
            if DATA not in known:  # of a version that did not note it
                print(
                    f"{self.title}: trained by an earlier version, so it is not known whether its "
                    "training data or start weights have changed since"
                )
            fields = {name: done[name] for name in FinishedRun.__dataclass_fields__ if name in done}
            return FinishedRun(**{**fields, "results": self._results})
        print(f"{self.title}: {cfg.train.max_iter} iterations, in {self.folder}")
        whole = not any(self.folder.glob("*.pth"))  # else there is something to resume
        seconds, cores = time.perf_counter(), _core_seconds()
        with logging_to(self.folder):
            note = partial(_write, self.folder / MADE_FROM, made)
            results = train(cfg, resume=not whole, started=note)
        finished = FinishedRun(
            recipe=made[RECIPE],
            # Fewer than train.max_iter where the run stopped early.
            iterations=read_checkpoint(self.weights)["iteration"] + 1,
            seconds=time.perf_counter() - seconds if whole else None,
            core_seconds=_core_seconds() - cores if whole else None,
            results=results,
        )
        record = {"weights": content_digest(self.weights), "made_from": made}
        _write(self.folder / DONE, asdict(finished) | record)
        return finished

    def check_folder(self) -> None:
        """Check that the folder is new, empty or a run's.

        Raises:
            FileExistsError: it is somebody's own.
        """
        if self.folder.exists() and not (self.folder.is_dir() and is_run(self.folder)):
            raise FileExistsError(
                f"{self.folder}: exists, and is not the folder of a run; move it away, or choose "
                "another --output"
            )

    def _why_anew(
        self, made: Mapping[str, str], known: Mapping[str, str], done: Mapping[str, Any]
    ) -> str:
        """Why what is in the folder is neither resumed nor shown; empty: it is."""
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return ""
        if RECIPE not in known:
            return "it is not known what the run in its folder was made from"
        changed = what_changed(known, made)
        if changed:
            return f"{changed} changed since it was trained"
        weights = done.get("weights")
        if weights and self.weights.is_file() and content_digest(self.weights) != weights:
            return f"{self.weights.name} was replaced since it was trained"
        return ""

    @cached_property
    def _results(self) -> dict[str, Any]:
        """Its metrics; measured again where something else was evaluated into its folder since."""
        cfg = load_recipe(self.folder / CONFIG)  # as it was trained, with the classes of its data
        build_datasets(cfg, ["test"])
        model, _ = trained_model(cfg, self.weights)
        found = read_evaluation(self.folder, subject_of(cfg, model))
        if found is None:
            print(f"{self.title}: evaluating again, in {self.folder}")
            found = evaluate(cfg, model, build(cfg, "dataloader.evaluator"), show=False)
        return found

    def model(self) -> nn.Module:
        """The trained model, for evaluation."""
        return trained_model(self.config(), self.weights)[0]

    def reported(self, finished: FinishedRun) -> Run:
        """The run as reports want it."""
        # Images that are in memory need none.
        mapper = instantiate(self.config().dataloader.test.get("mapper"))
        return Run(
            name=self.title,
            results=finished.results,
            metrics_file=self.folder / METRICS,
            predictions_file=self.predictions,
            iterations=finished.iterations,
            seconds=finished.seconds,
            view=model_view(self.model(), mapper),
            stored=stored_view_of(mapper),
            evaluator=self.evaluator,
        )


def runs_of(
    rows: Mapping[str, Row], folder: Path, first: Sequence[str], overrides: Sequence[str]
) -> list[RecipeRun]:
    """The runs of a comparison, in the order of its rows.

    Args:
        rows: by title; later ones may start from the weights of earlier ones.
        folder: each run gets a folder in it.
        first: ``key=value`` that give the weights of the first model to those that want them.
        overrides: ``key=value`` for all.
    """
    runs: dict[str, RecipeRun] = {}
    for title, row in rows.items():
        start = [*first] if row.from_first else []
        start += [f"{key}={runs[other].weights}" for key, other in row.weights_of.items()]
        place = folder / row.folder(title)
        runs[title] = RecipeRun(title, row.recipe, place, [*start, *row.overrides, *overrides])
    return list(runs.values())


def check_runs(runs: Iterable[RecipeRun]) -> None:
    """Check all runs before the first one trains: the last may be hours away.

    Raises:
        KeyError, ValueError: as :meth:`RecipeRun.check`.
        FileExistsError: as :meth:`RecipeRun.check_folder`.
    """
    runs = list(runs)
    for run in runs:
        run.check_folder()
    for run in runs:
        run.check()


def _noted(folder: Path) -> dict[str, str]:
    """What the run in a folder is made from; nothing: it is not known."""
    found = _read(folder / DONE).get("made_from") or _read(folder / MADE_FROM)
    old = folder / RECIPE_DIGEST
    if not found and old.is_file():
        found = {RECIPE: old.read_text(encoding="utf-8")}
    return found


def _make_room(folder: Path, why: str) -> None:
    """Rename a folder with weights and curves of another run: they are kept, but not resumed."""
    with folder_lock(folder / LOCK):  # of a run that is not writing any more
        kept = folder.rename(next_numbered(folder.parent, f"{folder.name}-earlier"))
        (kept / LOCK).unlink()
    print(f"{why}; what was in {folder} is in {kept} now")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write(path: Path, record: Mapping[str, Any]) -> None:
    with atomic_path(path) as beside:
        beside.write_text(json.dumps(record), encoding="utf-8")


def _core_seconds() -> float:
    """Processor time of this process and of those of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
