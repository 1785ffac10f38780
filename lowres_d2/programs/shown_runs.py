"""Runs as ``lowres-d2 visualize`` takes them: opened by text, evaluated where they were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.views import changes_images, model_view
from lowres_d2.data.datasets import dataset_fingerprint, with_classes
from lowres_d2.engine.build import build_datasets, build_model
from lowres_d2.engine.evaluate import evaluate
from lowres_d2.engine.evaluation_file import read_evaluation, subject_of
from lowres_d2.engine.identity import identify
from lowres_d2.engine.startup.weights import naming_weights
from lowres_d2.engine.trained import trained_model
from lowres_d2.evaluation.shown import ShownMetrics, task_of
from lowres_d2.modeling.run_weights import ENDINGS, FINAL, near_weights, saved_weights, weights_file
from lowres_d2.near_names import listed, near
from lowres_d2.predictor.loading import RECIPES
from lowres_d2.quick_models import quick_file
from lowres_d2.recipes.find import find_recipe, nearest_recipe
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.saved_configs import CONFIG

from omegaconf import DictConfig, OmegaConf
from torch import nn


@dataclass(frozen=True)
class ShownRun:
    """A run with its model.

    Attributes:
        name: its name in figures.
        cfg: its recipe, with the data set of the figure built.
        model: in evaluation mode.
        folders: where its evaluation may be; it is written into the last of them.
    """

    name: str
    cfg: DictConfig
    model: nn.Module
    folders: Sequence[Path]

    @property
    def lowers_resolution(self) -> bool:
        """Whether its network sees other pixels than the mapper gives, in all ours fewer."""
        return changes_images(self.model)

    @property
    def dataset(self) -> Sequence[Mapping]:
        """Its test set."""
        return self.cfg.dataloader.test.dataset

    def view(self) -> Any:
        """What its network sees of an image."""
        return model_view(self.model, mapper_of(self.cfg))

    @property
    def folder(self) -> Path:
        """Where its evaluation is."""
        return self._evaluated[0]

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """Its metrics, and the comparison that ``--eval-only`` made, if it did."""
        return self._evaluated[1]

    @cached_property
    def _evaluated(self) -> tuple[Path, Mapping[str, Any]]:
        """Folder and metrics of an evaluation; done now where there is none of these weights."""
        subject = subject_of(self.cfg, self.model)
        for folder in self.folders:
            found = read_evaluation(folder, subject)
            if found is not None:
                return folder, found
        folder = self.folders[-1]
        print(f"{self.name}: evaluating, in {folder}", flush=True)
        self.cfg.train.output_dir = str(folder)
        return folder, evaluate(
            self.cfg, self.model, build(self.cfg, "dataloader.evaluator"), show=False
        )

    @property
    def task(self) -> str:
        """What its evaluator measures, which needs no labels: ``bbox`` or ``classification``."""
        return task_of(self.cfg)

    @cached_property
    def evaluator(self) -> Any:
        """The evaluator of its test images."""
        return build(self.cfg, "dataloader.evaluator")

    @property
    def shown(self) -> ShownMetrics:
        """Which metrics its evaluator shows."""
        return ShownMetrics.of(self.evaluator)

    @property
    def predictions(self) -> Path:
        """What it has found on the test images."""
        return self.folder / self.shown.predictions

    def accuracy(self) -> float:
        """Its main metric in percent."""
        return self.shown.accuracy(self.evaluation) or 0.0

    @property
    def max_dets(self) -> int | None:
        """The cap on detections that it was evaluated with; None where there is none."""
        return self.evaluation[self.shown.task].get("max-dets")


def open_run(
    text: str, output: Path, overrides: Sequence[str] = (), split: str = "test"
) -> ShownRun:
    """Build a run's model with its weights.

    Args:
        text: ``[NAME=]FOLDER``, ``[NAME=]WEIGHTS``, ``[NAME=]RECIPE@WEIGHTS`` or ``[NAME=]RECIPE``;
            weights may be a quick model's name.
        output: folder for what must be evaluated.
        overrides: ``key=value`` of the recipe.
        split: "train" or "test", the data set that is built.

    Raises:
        FileNotFoundError: no such recipe, or a folder without a finished run.
        ValueError: weights and recipe do not fit each other.
    """
    name, recipe, weights, folder = _sources(text)
    folders = [folder] if folder else []
    folders.append(output / "evaluations" / file_name(name))
    cfg = _recipe(recipe, weights, overrides)
    build_datasets(cfg, [split])
    if weights:
        model, report = trained_model(cfg, weights)
        shown = cfg.dataloader[split]
        shown.dataset = with_classes(shown.dataset, report.classes, report.category_ids)
    else:
        model = build_model(cfg).eval()
        if any(True for _ in getattr(model, "resampler", nn.Identity()).parameters()):
            start = OmegaConf.select(cfg, "model.resampler.init") or "box"
            name += f" (untrained: {'box filter' if start == 'box' else start})"
    return ShownRun(name, cfg, model, folders)


def check_there(texts: Sequence[str]) -> None:
    """Raise if recipes or weights of runs are missing, before the first run is opened.

    Args:
        texts: as in :func:`open_run`.

    Raises:
        FileNotFoundError: names the nearest.
    """
    for text in texts:
        _, recipe, weights, _ = _sources(text)
        if recipe:
            find_recipe(recipe)
        if weights:
            with naming_weights("", weights):
                weights_file(weights)


def untrained_model(text: str, overrides: Sequence[str] = ()) -> tuple[str, nn.Module]:
    """Name and model of a run as it starts, for figures that need no weights and no data.

    Args:
        text: as in :func:`open_run`.
        overrides: ``key=value`` of the recipe.

    Raises:
        FileNotFoundError: as in :func:`open_run`.
    """
    name, recipe, weights, _ = _sources(text)
    return name, build_model(_recipe(recipe, weights, overrides)).eval()


def _sources(text: str) -> tuple[str, str, str, Path | None]:
    """Name, recipe and weights of a run, and its folder; empty or None for what it has not."""
    name, source = split_name(text)
    recipe, _, weights = source.partition("@")
    folder = Path(recipe)
    # Figures take text alone, and names of files may hold other bytes.
    name = (name or folder.stem).encode("utf-8", "backslashreplace").decode()
    if folder.is_dir():
        recipe, weights = str(folder / CONFIG), weights or str(folder / FINAL)
        for file in (recipe, weights):
            if not Path(file).exists():
                saved = saved_weights(folder)
                other = f"; it has {', '.join(saved[:4])}, which RUN@WEIGHTS takes" if saved else ""
                raise FileNotFoundError(f"{file} is not there: {folder} is no finished run{other}")
        return name, recipe, weights, folder
    is_weights = folder.suffix in ENDINGS or (not folder.exists() and quick_file(recipe))
    if is_weights and not weights:
        recipe, weights = "", recipe
    elif not folder.exists() and folder.suffix not in RECIPES:
        hint = near_weights(recipe) or nearest_recipe(recipe)
        raise FileNotFoundError(f"no run {recipe}{hint}")
    return name, recipe, weights, None


def split_name(text: str) -> tuple[str, str]:
    """The name of ``NAME=RUN``, empty without one, and the rest; a path may have the sign, too."""
    if "=" not in text or Path(text).exists():
        return "", text
    name, _, source = text.partition("=")
    return name, source


def _recipe(recipe: str, weights: str, overrides: Sequence[str]) -> DictConfig:
    return load_recipe(recipe, overrides) if recipe else identify(weights).load_recipe(overrides)


def mapper_of(cfg: DictConfig, split: str = "test") -> Any:
    """The mapper of a recipe; None of one whose images are in memory."""
    key = f"dataloader.{split}.mapper"
    return None if OmegaConf.select(cfg, key) is None else build(cfg, key)


def file_name(name: str) -> str:
    """The name of a run as a part of a file's."""
    return name.replace(" ", "_").replace("/", "_")


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError if figures or files could not tell two runs apart."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two runs are called {name!r}: name them, --runs NAME=RUN ...")
    files = [file_name(name) for name in names]
    for name, file in zip(names, files, strict=True):
        if files.count(file) > 1:
            raise ValueError(
                f"{name!r} and another run would write the same files ({file}): name them "
                "otherwise, --runs NAME=RUN ..."
            )


def check_comparable(runs: Sequence[ShownRun]) -> None:
    """Raise ValueError if runs have equal names, other tasks or other test sets."""
    names = [run.name for run in runs]
    check_names(names)
    tasks = {run.name: run.task for run in runs}
    if len(set(tasks.values())) > 1:
        shown = ", ".join(f"{name} {task}" for name, task in tasks.items())
        raise ValueError(f"runs cannot be compared, their results are of several tasks ({shown})")
    fingerprints = {run.name: dataset_fingerprint(run.dataset) for run in runs}
    for name, fingerprint in fingerprints.items():
        if fingerprint != fingerprints[names[0]]:
            raise ValueError(
                f"{names[0]} and {name} have different test sets ({runs[0].dataset.source}, ...): "
                "give both the same with dataloader.test.dataset overrides"
            )


def check_caps(caps: Mapping[str, int | None]) -> None:
    """Raise ValueError at different caps on detections: their APs cannot be compared."""
    if len(set(caps.values())) > 1:
        shown = ", ".join(f"{name} {cap}" for name, cap in caps.items())
        raise ValueError(
            f"runs cannot be compared, their maxDets differ ({shown}): evaluate all with the same "
            "dataloader.evaluator.max_dets"
        )


def check_trained(texts: Sequence[str]) -> None:
    """Raise ValueError if a run has no weights.

    Args:
        texts: as in :func:`open_run`.
    """
    for name, _, weights, _ in map(_sources, texts):
        if not weights:
            raise ValueError(f"{name} has no weights: give RECIPE@WEIGHTS or a run's folder")


def check_roles(texts: Sequence[str], roles: Mapping[str, str | None]) -> None:
    """Raise ValueError if a role is of no run, or if ours is to be compared with itself.

    Args:
        texts: as in :func:`open_run`.
        roles: names of runs, by what they are.
    """
    names = [_sources(text)[0] for text in texts]
    for role, name in roles.items():
        if name is not None and name not in names:
            there = near(name, names) or listed(names)
            raise ValueError(f"--{role} {name}: is the name of none of --runs{there}")
    ours = roles["ours"] or names[-1]
    for role in ("baseline", "full"):
        if roles[role] == ours:
            raise ValueError(f"--{role} {ours}: is compared with itself: choose another --ours")
