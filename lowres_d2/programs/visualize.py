"""Draw runs: thumbnails, detections, AP, speed, gains, training images.

A run is the folder of a finished training, its weights, or ``RECIPE@WEIGHTS``. ``thumbnails`` and
``data`` also take a bare ``RECIPE``, with its resampler at initialization. ``NAME=RUN`` names a run
in the figures. ``data`` shows training images with their boxes as the detector gets them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lowres_d2.analysis import (
    Point,
    choose_images,
    detected_column,
    input_view,
    measure_points,
    model_view,
    plot_trade_off,
    points_of_comparisons,
    write_failure_cases,
    write_thumbnails,
    write_training_data,
)
from lowres_d2.analysis.findings import findings_kind
from lowres_d2.analysis.gains import explanation, gains_table, redrawn
from lowres_d2.data.datasets import BoxDataset, dataset_fingerprint, with_classes
from lowres_d2.engine.build import build_datasets, build_model
from lowres_d2.engine.checkpoint import load_weights
from lowres_d2.engine.compare import COUNTED_IMAGES, first_images, images_to_time, machine
from lowres_d2.engine.evaluate import evaluate
from lowres_d2.engine.evaluation_file import read_evaluation, subject_of
from lowres_d2.engine.hooks.repeatable import seed_everything
from lowres_d2.engine.identity import identify
from lowres_d2.engine.run_folder import EVALUATION
from lowres_d2.evaluation.shown import ShownMetrics
from lowres_d2.modeling.run_weights import FINAL
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command import docstring_of
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.saved_configs import CONFIG

from omegaconf import DictConfig, OmegaConf
from torch import nn

FILES = {  # of the parts of "all"
    "thumbnails": "thumbnails.png",
    "detections": "detections.png",
    "trade-off": "trade_off.png",
    "gains": "gains.md",
}
PARTS = tuple(FILES)
DATA = "data"
WEIGHT_FILES = (".pth", ".pkl", ".safetensors")


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = argparse.ArgumentParser(
        description=docstring_of(__file__), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*PARTS, "all", DATA], help="which figure to draw")
    parser.add_argument(
        "--runs",
        required=True,
        nargs="+",
        metavar="[NAME=]RUN",
        help="runs in the order of the columns",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for the figures"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=2,
        metavar="N",
        help="images of each kind, default %(default)s",
    )
    roles = parser.add_argument_group("runs that the detections figure compares, by name")
    roles.add_argument("--ours", help="default: the last run")
    roles.add_argument("--baseline", help="default: the first other low-resolution run")
    roles.add_argument("--full", help="default: the first full-resolution run, if there is one")
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to all recipes")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    # Overrides stand after the flags, apart from `part`.
    args = make_parser().parse_intermixed_args(arguments)
    move_overrides(args, "runs")
    run_reporting_mistakes(lambda: _run(args))


class NothingToDrawError(ValueError):
    """The runs do not have what a figure shows."""


@dataclass(frozen=True)
class ShownRun:
    """A run with its model.

    Attributes:
        name: its name in figures.
        cfg: its recipe, with the data set of the figure built.
        model: in evaluation mode.
        trained: whether its weights were loaded.
        folders: where its evaluation may be; it is written into the last of them.
    """

    name: str
    cfg: DictConfig
    model: nn.Module
    trained: bool
    folders: Sequence[Path]

    @property
    def lowers_resolution(self) -> bool:
        """Whether its network sees fewer pixels than the mapper gives."""
        return getattr(getattr(self.model, "resampler", None), "factor", 1) != 1

    @property
    def dataset(self) -> BoxDataset:
        """Its test set."""
        return self.cfg.dataloader.test.dataset

    def view(self) -> Any:
        """What its network sees of an image."""
        return model_view(self.model, build(self.cfg, "dataloader.test.mapper"))

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

    @cached_property
    def shown(self) -> ShownMetrics:
        """Which metrics its evaluator shows."""
        return ShownMetrics.of(build(self.cfg, "dataloader.evaluator"))

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
        text: ``[NAME=]FOLDER``, ``[NAME=]WEIGHTS``, ``[NAME=]RECIPE@WEIGHTS`` or ``[NAME=]RECIPE``.
        output: folder for what must be evaluated.
        overrides: ``key=value`` of the recipe.
        split: "train" or "test", the data set that is built.

    Raises:
        FileNotFoundError: no such recipe, or a folder without a finished run.
        ValueError: weights and recipe do not fit each other.
    """
    name, source = "", text
    if "=" in text and not Path(text).exists():
        name, _, source = text.partition("=")
    recipe, _, weights = source.partition("@")
    folder = Path(recipe)
    # Figures take text alone, and names of files may hold other bytes.
    name = (name or folder.stem).encode("utf-8", "backslashreplace").decode()
    is_run = folder.is_dir()
    if is_run:
        recipe, weights = str(folder / CONFIG), weights or str(folder / FINAL)
        for file in (recipe, weights):
            if not Path(file).is_file():
                raise FileNotFoundError(f"{file} is not there: {folder} is no finished run")
    folders = [folder] if is_run else []
    folders.append(output / "evaluations" / _file_name(name))
    if Path(recipe).suffix in WEIGHT_FILES and not weights:
        recipe, weights = "", recipe
    cfg = load_recipe(recipe, overrides) if recipe else identify(weights).load_recipe(overrides)
    build_datasets(cfg, [split])
    model = build_model(cfg).eval()
    if weights:
        average = cfg.train.ema.enabled
        report = load_weights(model, weights, complete=True, use_average=average)
        shown = cfg.dataloader[split]
        shown.dataset = with_classes(shown.dataset, report.classes, report.category_ids)
    elif any(True for _ in getattr(model, "resampler", nn.Identity()).parameters()):
        start = OmegaConf.select(cfg, "model.resampler.init") or "box"
        name += f" (untrained: {'box filter' if start == 'box' else start})"
    return ShownRun(name, cfg, model, bool(weights), folders)


def draw_thumbnails(runs: Sequence[ShownRun], output: Path, images: int) -> Path:
    """Write ``thumbnails.png``: what the resamplers of the low-resolution runs make."""
    low = [run for run in runs if run.lowers_resolution]
    if not low:
        raise NothingToDrawError("thumbnails: none of the runs lowers the resolution")
    mapper = low[0].cfg.dataloader.test.mapper
    original, views = input_view(build(low[0].cfg, "dataloader.test.mapper")), {}
    for run in low:
        if run.cfg.dataloader.test.mapper != mapper:  # its thumbnails are of other images
            mapper = run.cfg.dataloader.test.mapper
            views[f"input of {run.name}"] = input_view(build(run.cfg, "dataloader.test.mapper"))
        views[run.name] = run.view()
    entries = choose_images(low[0].dataset, images)
    return write_thumbnails(output / "thumbnails.png", entries, views, original)


def draw_data(runs: Sequence[ShownRun], output: Path, images: int) -> list[Path]:
    """Write ``data.png``, of several runs ``data_NAME.png``: training images with their boxes.

    Args:
        runs: with their training sets built.
        output: folder.
        images: how many of each run.
    """
    paths = []
    for run, path in zip(runs, _data_files([run.name for run in runs], output), strict=True):
        seed_everything(run.cfg.train.seed, 0)  # each run draws its augmentations alike
        dataset = run.cfg.dataloader.train.dataset
        mapper = build(run.cfg, "dataloader.train.mapper")
        entries = choose_images(dataset, images)
        paths.append(write_training_data(path, entries, mapper, run.model, dataset.classes))
    return paths


def _data_files(names: Sequence[str], output: Path) -> list[Path]:
    if len(names) == 1:
        return [output / "data.png"]
    return [output / f"data_{_file_name(name)}.png" for name in names]


def _file_name(name: str) -> str:
    return name.replace(" ", "_").replace("/", "_")


def draw_detections(
    runs: Sequence[ShownRun], output: Path, images: int, roles: Mapping[str, str | None]
) -> Path:
    """Write ``detections.png``: where ours and the baseline differ most, both ways.

    Args:
        runs: at least two, trained.
        output: folder.
        images: how many of each kind.
        roles: names for ``ours``, ``baseline`` and ``full``, None for the default.
    """
    _check_trained(runs)
    low = [run.name for run in runs if run.lowers_resolution]
    full = [run.name for run in runs if not run.lowers_resolution]
    ours = roles["ours"] or runs[-1].name
    others = [name for name in low + full if name != ours]
    if not others:
        raise NothingToDrawError("detections: expected at least two runs to compare")
    baseline = roles["baseline"] or others[0]
    reference = roles["full"] or next((n for n in full if n not in (ours, baseline)), None)
    columns = []
    for run in runs:
        columns.append(detected_column(run.name, run.predictions, run.dataset, run.view())[0])
    return write_failure_cases(
        output / "detections.png",
        runs[0].dataset,
        columns,
        runs[0].dataset.classes,
        ours,
        baseline,
        reference,
        images,
    )


def draw_trade_off(runs: Sequence[ShownRun], output: Path) -> Path:
    """Write ``trade_off.png``: as --eval-only measured, else measured now, all runs alternately."""
    _check_trained(runs)
    _check_caps({run.name: run.max_dets for run in runs})
    if all("comparison" in run.evaluation for run in runs):
        points = points_of_comparisons({run.name: run.folder / EVALUATION for run in runs})
        note = "speed as measured by each run's --eval-only"
    else:
        points, note = _measure(runs)
    return plot_trade_off(points, output / "trade_off.png", note, runs[0].shown.main)


def write_gains(runs: Sequence[ShownRun], output: Path) -> Path:
    """Write ``gains.md``: the gain of each run over each one before it, with its interval."""
    _check_trained(runs)
    if len(runs) < 2:
        raise NothingToDrawError("gains: expected at least two runs to compare")
    _check_caps({run.name: run.max_dets for run in runs})
    metric, findings = runs[0].shown.main, findings_kind(runs[0].shown.task)
    predicted = redrawn([findings.read(run.dataset, run.predictions) for run in runs])
    found = dict(zip([run.name for run in runs], predicted, strict=True))
    text = f"{gains_table(found, metric)}\n\n{explanation(metric, findings.kind)}\n"
    with own_path(output / FILES["gains"]) as part:
        part.write_text(text, encoding="utf-8")
    return output / FILES["gains"]


def _measure(runs: Sequence[ShownRun]) -> tuple[list[Point], str]:
    first = runs[0]
    for run in runs[1:]:
        if run.cfg.dataloader.test.mapper != first.cfg.dataloader.test.mapper:
            raise ValueError(
                f"{run.name} and {first.name} cannot be timed on the same inputs: their "
                "dataloader.test.mapper differ; measure each with train_net.py --eval-only"
            )
    images = first_images(build(first.cfg, "dataloader.test"), COUNTED_IMAGES)
    timed = images_to_time(images, first.model)
    models = {run.name: run.model for run in runs}
    points = measure_points(models, {run.name: run.accuracy() for run in runs}, images, timed)
    return points, f"speed: {len(timed)} images, one at a time, {machine(first.model)}"


def _run(args: argparse.Namespace) -> None:
    if args.images < 1:
        raise ValueError(f"--images {args.images}: expected a positive number")
    if args.part == DATA:
        runs = [open_run(text, args.output, args.opts, "train") for text in args.runs]
        _check_names(runs)
        check_own(_data_files([run.name for run in runs], args.output))
        print(*draw_data(runs, args.output, args.images), sep="\n", flush=True)
        return
    parts = PARTS if args.part == "all" else (args.part,)
    check_own(args.output / FILES[part] for part in parts)
    runs = [open_run(text, args.output, args.opts) for text in args.runs]
    _check_comparable(runs)
    roles = {"ours": args.ours, "baseline": args.baseline, "full": args.full}
    draw = {
        "thumbnails": lambda: draw_thumbnails(runs, args.output, args.images),
        "detections": lambda: draw_detections(runs, args.output, args.images, roles),
        "trade-off": lambda: draw_trade_off(runs, args.output),
        "gains": lambda: write_gains(runs, args.output),
    }
    for part in parts:
        try:
            print(draw[part](), flush=True)
        except NothingToDrawError as error:
            if args.part != "all":
                raise
            print(f"left out: {error}", flush=True)


def _check_names(runs: Sequence[ShownRun]) -> None:
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two runs are called {name!r}: name them, --runs NAME=RUN ...")
    files = [_file_name(name) for name in names]
    for name, file in zip(names, files, strict=True):
        if files.count(file) > 1:
            raise ValueError(
                f"{name!r} and another run would write the same files ({file}): name them "
                "otherwise, --runs NAME=RUN ..."
            )


def _check_comparable(runs: Sequence[ShownRun]) -> None:
    _check_names(runs)
    names = [run.name for run in runs]
    fingerprints = {run.name: dataset_fingerprint(run.dataset) for run in runs}
    for name, fingerprint in fingerprints.items():
        if fingerprint != fingerprints[names[0]]:
            raise ValueError(
                f"{names[0]} and {name} have different test sets ({runs[0].dataset.source}, ...): "
                "give both the same with dataloader.test.dataset overrides"
            )


def _check_caps(caps: Mapping[str, int | None]) -> None:
    """APs at different caps on detections cannot be compared."""
    if len(set(caps.values())) > 1:
        shown = ", ".join(f"{name} {cap}" for name, cap in caps.items())
        raise ValueError(
            f"runs cannot be compared, their maxDets differ ({shown}): evaluate all with the same "
            "dataloader.evaluator.max_dets"
        )


def _check_trained(runs: Sequence[ShownRun]) -> None:
    for run in runs:
        if not run.trained:
            raise ValueError(f"{run.name} has no weights: give RECIPE@WEIGHTS or a run's folder")
