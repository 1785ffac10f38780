"""``make quickstart``: one detector at full and at quarter resolution, and a report about both."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowres_d2.analysis.pictures import model_view
from lowres_d2.analysis.report import Run, write_report
from lowres_d2.atomic import atomic_path
from lowres_d2.engine.build import build_model
from lowres_d2.engine.cli import run_reporting_mistakes
from lowres_d2.engine.environment import logging_to
from lowres_d2.engine.recipe import load_recipe
from lowres_d2.engine.train import train

from detectron2.config import LazyConfig, instantiate
from omegaconf import DictConfig

logger = logging.getLogger(__name__)

# Title -> recipe; both train for the same number of iterations on the same pictures.
RECIPES = {
    "full resolution": "configs/quick/full_fcos_small_256_plates.py",
    "bicubic 4x": "configs/quick/bicubic4_fcos_small_64_plates.py",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the quickstart; what a former run finished is not done again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/quickstart"))
    parser.add_argument("opts", nargs="*", help="key=value overrides for both recipes")
    args = parser.parse_args(arguments)
    run_reporting_mistakes(lambda: quickstart(args.output, args.opts))


def quickstart(output: Path, overrides: Sequence[str] = ()) -> Path:
    """Train the recipes that are not done, and write the report.

    Args:
        output: folder; each recipe gets a folder in it.
        overrides: ``key=value`` for both recipes.

    Returns:
        Path of ``report.md``.
    """
    runs = []
    for title, recipe in RECIPES.items():
        folder = output / Path(recipe).stem
        cfg = load_recipe(recipe, [*overrides, f"train.output_dir={folder}"])
        done = _finished(cfg, folder) or _train(title, cfg, folder)
        runs.append(
            Run(
                name=title,
                results=done["results"],
                metrics_file=folder / "metrics.json",
                predictions_file=folder / "coco_instances_results.json",
                iterations=done["iterations"],
                seconds=done["seconds"],
                view=model_view(build_model(cfg), instantiate(cfg.dataloader.test.mapper)),
            )
        )
    dataset = instantiate(cfg.dataloader.test.dataset)
    report = write_report(output, runs, dataset, title="Quickstart: full and quarter resolution")
    print(f"report: {report}")
    return report


def _train(title: str, cfg: DictConfig, folder: Path) -> dict[str, Any]:
    recipe = _recipe_hash(cfg)
    marker = folder / "recipe.sha256"
    if folder.exists() and (not marker.exists() or marker.read_text() != recipe):
        # Another recipe's weights and curves: kept, but not gone on from.
        number = 1 + len(list(folder.parent.glob(f"{folder.name}-earlier*")))
        folder.rename(folder.with_name(f"{folder.name}-earlier{number}"))
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(recipe)
    print(f"{title}: {cfg.train.max_iter} iterations, in {folder}")
    started = time.perf_counter()
    with logging_to(folder):
        results = train(cfg, resume=True)
    seconds = time.perf_counter() - started
    done = {
        "recipe": recipe,
        "iterations": cfg.train.max_iter,
        "seconds": seconds,
        "results": results,
    }
    with atomic_path(folder / "done.json") as beside:
        beside.write_text(json.dumps(done), encoding="utf-8")
    return done


def _finished(cfg: DictConfig, folder: Path) -> dict[str, Any] | None:
    """What an earlier quickstart completed with the same recipe."""
    path = folder / "done.json"
    if not path.is_file():
        return None
    done = json.loads(path.read_text(encoding="utf-8"))
    if done["recipe"] != _recipe_hash(cfg):
        return None
    print(f"done before: {folder}")
    return done


def _recipe_hash(cfg: DictConfig) -> str:
    """Changes with every value of a recipe, overrides included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        LazyConfig.save(cfg, str(path))
        return hashlib.sha256(path.read_bytes()).hexdigest()
