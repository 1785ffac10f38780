"""Runs of recipes in folders of their own; a finished run is not repeated."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.views import model_view, stored_view_of
from lowres_d2.analysis.run import Run
from lowres_d2.atomic import atomic_path
from lowres_d2.engine.build import build_datasets
from lowres_d2.engine.checkpoint import RunState, read_checkpoint
from lowres_d2.engine.evaluate import evaluate
from lowres_d2.engine.evaluation_file import read_evaluation, subject_of
from lowres_d2.engine.identity import recipe_text
from lowres_d2.engine.processes.folder_lock import folder_lock
from lowres_d2.engine.processes.log_files import logging_to
from lowres_d2.engine.run_folder import LOCK, METRICS
from lowres_d2.engine.stages import StageSchedule, with_lengths
from lowres_d2.engine.train import train
from lowres_d2.engine.trained import trained_model
from lowres_d2.evaluation.shown import ShownMetrics
from lowres_d2.modeling.run_weights import FINAL
from lowres_d2.modeling.without_values import without_values
from lowres_d2.numbered import next_numbered
from lowres_d2.programs.mistakes import one_line
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
        """Train to the end, unless an earlier call did with the very same recipe.

        An interrupted run is resumed; a run of another recipe is renamed and kept.

        Raises:
            FolderInUse: another run writes into the folder.
        """
        cfg = self.config()
        digest = recipe_hash(cfg)
        path = self.folder / "done.json"
        if path.is_file():
            done = json.loads(path.read_text(encoding="utf-8"))
            if done["recipe"] == digest:
                print(f"done before: {self.folder}")
                return FinishedRun(**{**done, "results": self._results})
        _make_room(self.folder, digest)
        print(f"{self.title}: {cfg.train.max_iter} iterations, in {self.folder}")
        whole = not any(self.folder.glob("*.pth"))  # else there is something to resume
        seconds, cores = time.perf_counter(), _core_seconds()
        with logging_to(self.folder):
            results = train(cfg, resume=not whole)
        finished = FinishedRun(
            recipe=digest,
            # Fewer than train.max_iter where the run stopped early.
            iterations=read_checkpoint(self.weights)["iteration"] + 1,
            seconds=time.perf_counter() - seconds if whole else None,
            core_seconds=_core_seconds() - cores if whole else None,
            results=results,
        )
        with atomic_path(path) as beside:
            beside.write_text(json.dumps(asdict(finished)), encoding="utf-8")
        return finished

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


def check_runs(runs: Iterable[RecipeRun]) -> None:
    """Check all runs before the first one trains: the last may be hours away.

    Raises:
        KeyError, ValueError: as :meth:`RecipeRun.check`.
    """
    for run in runs:
        run.check()


def recipe_hash(cfg: DictConfig) -> str:
    """Changes with every value of a recipe, overrides included."""
    return hashlib.sha256(recipe_text(cfg).encode()).hexdigest()


def _make_room(folder: Path, digest: str) -> None:
    marker = folder / "recipe.sha256"
    if folder.exists() and (not marker.exists() or marker.read_text(encoding="utf-8") != digest):
        # Weights and curves of another recipe: kept, but not resumed.
        with folder_lock(folder / LOCK):  # of a run that is not writing any more
            kept = folder.rename(next_numbered(folder.parent, f"{folder.name}-earlier"))
            (kept / LOCK).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(digest, encoding="utf-8")


def _core_seconds() -> float:
    """Processor time of this process and of those of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
