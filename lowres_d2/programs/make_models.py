"""Train the quick models of the package, and write each into a small file.

A file says where it comes from. Runs that were interrupted are resumed, and finished ones not
repeated. AP is that of the written weights, on the test split.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2 import __version__
from lowres_d2.data.plates.dataset import VARIANTS, with_sizes
from lowres_d2.engine.build import build_datasets
from lowres_d2.engine.evaluate import evaluate
from lowres_d2.engine.identity import recipe_of
from lowres_d2.evaluation.shown import ShownMetrics
from lowres_d2.own_files import check_own
from lowres_d2.predictor import Predictor
from lowres_d2.predictor.loading import predictor_of
from lowres_d2.programs.command import COMMAND
from lowres_d2.programs.command_lines.make_models import parse
from lowres_d2.programs.made_models import MADE, STARTS, Made
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.pack import pack_weights
from lowres_d2.programs.quick_benchmarks import Row
from lowres_d2.programs.recipe_runs import FinishedRun, RecipeRun, check_runs, runs_of
from lowres_d2.programs.slim import STORED, recipe_for_use, write_slim, write_with_card
from lowres_d2.quick_models import SUFFIX, Card
from lowres_d2.recipes.find import PACKAGE, ROOTS
from lowres_d2.recipes.load import build

from omegaconf import DictConfig

SEED = 1  # of reported results; recipes were chosen with 0
MOST_LOST = 0.1  # of AP that storing may cost
LICENCE = "Apache-2.0"  # this project's, as the data is


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; what a former call finished is not trained again."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: make_models(args.output, args.only or list(MADE), args.opts))


def make_models(output: Path, names: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Train models and what they start from, then write their files.

    Args:
        output: folder of the files.
        names: which.
        overrides: ``key=value`` for all recipes.

    Raises:
        ValueError: stored, a model has lost AP.
    """
    check_own(output / f"{name}{SUFFIX}" for name in names)
    made = {name: MADE[name] for name in names}
    needed = {other for model in made.values() for other in model.start.values()}
    rows = {name: row for name, row in STARTS.items() if name in needed}
    for name, model in made.items():
        rows[name] = Row(model.recipe, from_first=False, weights_of=model.start)
    common = [f"train.seed={SEED}", "dataloader.test.dataset.split=test", *overrides]
    runs = runs_of(rows, output / "runs", [], common)
    check_runs(runs)
    origin = {
        "command": " ".join([COMMAND, "make-models --output DIR", *overrides]),
        "seed": SEED,
        "commit": _commit(),  # before the training, in which the code may change
        "licence": LICENCE,
    }
    finished = [(run, run.finish()) for run in runs]
    for run, end in finished:
        if run.title in made:
            _write(output, made[run.title], run, end, origin)


def _write(
    output: Path, made: Made, run: RecipeRun, end: FinishedRun, origin: Mapping[str, Any]
) -> None:
    """Write the file of a model whose run has finished; ``origin``: entries of its card."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, f"weights{SUFFIX}")
        cfg, weights = recipe_of(None, run.weights)
        cfg = recipe_for_use(cfg)
        (pack_weights if made.packed else write_slim)(cfg, weights, file)
        cfg, stored = recipe_of(None, file, ["train.device=cpu", f"train.output_dir={place}"])
        detector = predictor_of(cfg, stored)
        card = Card(**origin, **_measured(made, detector, cfg, end))
        lost = card.ap_trained - card.ap
        if lost > MOST_LOST:
            raise ValueError(f"{run.title}: {lost:.2f} AP are lost where its weights are stored")
        target = output / f"{run.title}{SUFFIX}"
        write_with_card(file, target, card)
    size = target.stat().st_size / 1e6
    print(f"{run.title}: AP {card.ap:.1f} ({card.ap_trained:.1f}), {size:.2f} MB in {target}")


def _measured(made: Made, detector: Predictor, cfg: DictConfig, end: FinishedRun) -> dict[str, Any]:
    """Entries of a card: what is stored, and how well it detects."""
    data = cfg.dataloader.test.dataset
    scene, _ = with_sizes(VARIANTS[data.variant], data.size_range)
    low, high = scene.size_range
    measured_on = f"the {data.num_images} images of their {data.split} split"
    build_datasets(cfg, ["test"])
    evaluator = build(cfg, "dataloader.evaluator")
    shown = ShownMetrics.of(evaluator)
    found = evaluate(cfg, detector.model, evaluator, show=False)[shown.task]
    info = detector.info
    return {
        "summary": made.summary,
        "knows": f"generated plates of {low:g} to {high:g} px",
        "factor": str(info.factor),
        "parameters": info.parameters,
        "macs": info.macs,
        "ops": info.ops,
        "macs_size": info.macs_size,
        "ap": found[shown.main],
        "ap_by_size": {name: found[f"{shown.main}-{name}"] for name in shown.size_ranges},
        "ap_trained": end.results[shown.task][shown.main],
        "measured_on": measured_on,
        "stored": "1-bit layers in bits" if made.packed else str(STORED).removeprefix("torch."),
        "recipe": made.recipe,
        "iterations": end.iterations,
    }


def _commit() -> str:
    """Commit of the code, with -dirty if files differ; of an installed package its version."""
    root = ROOTS[-1]
    if root != PACKAGE:  # an installed one may lie in somebody else's repository
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
            return said.stdout.strip()
    return f"version {__version__}"
