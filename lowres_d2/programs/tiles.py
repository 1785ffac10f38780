"""Compare whole images, all tiles, and a thumbnail first: AP and time.

The recipe's model is in tiles and looks at a thumbnail first: ``+tiles.size=512 +tiles.first=4``.
Compared are its detector on whole images, the thumbnail alone, the thumbnail with the tiles of each
--unsure, and all tiles with the whole image shrunk to one of them.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowres_d2.analysis.cost.latency import Timing, time_models
from lowres_d2.engine.compare import (
    COUNTED_IMAGES,
    evaluate_apart,
    first_images,
    images_to_time,
    machine,
    metric_of,
)
from lowres_d2.engine.evaluate import model_with_weights, take_sample
from lowres_d2.engine.processes.log_files import logging_to
from lowres_d2.engine.run_folder import claimed
from lowres_d2.engine.startup.metric import check_metric
from lowres_d2.fonts import plot_fonts, plot_text
from lowres_d2.modeling.tiles import TINY, UNSURE, LookedAt, TiledDetector, counting_tiles
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command import docstring_of
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.parser import Parser
from lowres_d2.recipes.load import build, load_recipe

from omegaconf import DictConfig, OmegaConf
from tabulate import tabulate
from torch import nn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

FULL, ALL, THUMBNAIL = "full frame", "all tiles", "thumbnail"


@dataclass(frozen=True)
class Seen:
    """What one way to see large images reaches.

    Attributes:
        accuracy: AP in percent; None where there are no objects.
        timing: of images one at a time.
        looked_at: tiles, of the whole test set; None where none are chosen.
    """

    accuracy: float | None
    timing: Timing
    looked_at: LookedAt | None

    @property
    def share(self) -> float | None:
        """Percent of the tiles that were looked at."""
        return None if self.looked_at is None else 100 * self.looked_at.share

    @property
    def seconds(self) -> float:
        """Of an image."""
        return 1 / self.timing.images_per_second


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(__file__))
    parser.add_argument(
        "--config-file", required=True, metavar="RECIPE", help="recipe of the detector and the data"
    )
    parser.add_argument(
        "--unsure",
        nargs="+",
        default=(),
        metavar="LOW,HIGH",
        help="scores of the thumbnail's detections whose tiles are looked at; default those of "
        "+tiles.unsure",
    )
    parser.add_argument(
        "--quick",
        type=int,
        default=0,
        metavar="N",
        help="evaluate on N images spread over the test set; the metric's name says so",
    )
    parser.add_argument(
        "opts",
        nargs="*",
        metavar="KEY=VALUE",
        help="key=value; train.init_checkpoint=FILE and +tiles.first=FACTOR are needed",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    if args.quick < 0:
        parser.error(f"--quick {args.quick}: expected a number of images")
    move_overrides(args, "unsure")
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    cfg = load_recipe(args.config_file, args.opts)
    with logging_to(cfg.train.output_dir):
        compare_tiles(cfg, [_scores(text) for text in args.unsure], args.quick)


def _scores(text: str) -> list[float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"--unsure {text}: expected two scores, such as 0.1,0.5") from None
    return [low, high]


def compare_tiles(
    cfg: DictConfig, unsure: Sequence[Sequence[float]] = (), quick: int = 0
) -> dict[str, Seen]:
    """Evaluate and time a recipe's detector for each way to see large images.

    Writes ``tiles.json``, ``tiles.md`` and ``tiles.png`` into the recipe's output folder, and what
    was detected into a folder for each.

    Args:
        cfg: the recipe, with ``train.init_checkpoint``; its model looks at a thumbnail first.
        unsure: lowest and highest score of what is looked at again; none for the model's own.
        quick: evaluate on this many images, spread over the test set; 0 takes all.

    Returns:
        By its name, the cheapest first.

    Raises:
        ValueError: there are no weights, or the model looks at no thumbnail first.
    """
    if not cfg.train.init_checkpoint:
        raise ValueError("a comparison needs weights: train.init_checkpoint=FILE")
    if OmegaConf.select(cfg, "dataloader.test.mapper.windows"):
        raise ValueError(
            "dataloader.test.mapper.windows=true: whole images are compared, too, so set it to "
            "false"
        )
    run_folder = cfg.train.output_dir  # a sample's is below it
    model, report = model_with_weights(cfg)
    if not isinstance(model, TiledDetector) or not model.first_look:
        raise ValueError("the model looks at no thumbnail first: add +tiles.first=4")
    logger.info("%s", report)
    sample = take_sample(cfg, quick) if quick else ""
    check_own(Path(cfg.train.output_dir, f"tiles.{kind}") for kind in ("json", "md", "png"))
    check_metric(cfg, build(cfg, "dataloader.evaluator"))
    models = _models(model, unsure)
    with claimed(run_folder):
        return _measure(cfg, models, sample)


def _models(model: TiledDetector, unsure: Sequence[Sequence[float]]) -> dict[str, nn.Module]:
    chosen = unsure or [model.first_look.unsure or UNSURE]
    first = {
        f"{THUMBNAIL}, then {low:g} to {high:g}": model.around(model.detector, unsure=[low, high])
        for low, high in chosen
    }
    everything = {"first": None, "unsure": UNSURE, "tiny": TINY, "whole_image": True}
    return {
        THUMBNAIL: model.around(model.detector, unsure=None),
        **first,
        ALL: model.around(model.detector, **everything),
        FULL: model.detector,
    }


def _measure(cfg: DictConfig, models: Mapping[str, nn.Module], sample: str) -> dict[str, Seen]:
    wanted = cfg.train.best.val_metric
    metric = wanted.replace("/", f"_{sample}/", 1) if sample else wanted
    images = first_images(build(cfg, "dataloader.test"), COUNTED_IMAGES)
    timings = time_models(models, images_to_time(images, next(iter(models.values()))))
    found = {}
    for name, model in models.items():
        with counting_tiles(model) as count:
            results = evaluate_apart(cfg, model, name.replace(", then", "").replace(" ", "_"))
        looked_at = count() if count().of else None
        found[name] = Seen(metric_of(results, wanted), timings[name], looked_at)
        logger.info("%s: %s %s", name, metric, _shown(found[name].accuracy))
    _write(Path(cfg.train.output_dir), found, metric, machine(next(iter(models.values()))))
    return found


def _shown(accuracy: float | None) -> str:
    return "n/a" if accuracy is None else f"{accuracy:.2f}"


def _write(folder: Path, found: Mapping[str, Seen], metric: str, place: str) -> None:
    rows = [
        [
            name,
            100.0 if name == ALL else seen.share,
            seen.accuracy,
            seen.seconds,
            seen.timing.times_faster_than(found[ALL].timing),
        ]
        for name, seen in found.items()
    ]
    head = ["seen", "tiles looked at, %", metric, "s an image", "faster than all tiles"]
    form = ("", ".1f", ".2f", ".3f", ".2f")
    table = tabulate(rows, head, tablefmt="github", floatfmt=form, missingval="")
    logger.info("%s\n%s", table, place)
    with own_path(folder / "tiles.md") as part:
        part.write_text(f"{table}\n\n{place}\n", encoding="utf-8")
    with own_path(folder / "tiles.json") as part:
        record = {name: _record(seen, metric, place) for name, seen in found.items()}
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    _plot(folder / "tiles.png", found, metric)


def _record(seen: Seen, metric: str, place: str) -> dict[str, Any]:
    looked_at = seen.looked_at and {"tiles": seen.looked_at.tiles, "of": seen.looked_at.of}
    values = {"metric": metric, "accuracy": seen.accuracy, "seconds": seen.seconds}
    return values | {"looked_at": looked_at, "machine": place}


def _plot(path: Path, found: Mapping[str, Seen], metric: str) -> None:
    """Accuracy over seconds an image, a point for each way to see it."""
    # Not through pyplot, which keeps figures alive and may want a display.
    from matplotlib.figure import Figure

    with plot_fonts([metric]):
        figure = Figure(figsize=(5.5, 3.8), layout="constrained")
        _draw(figure.subplots(), found, metric)
    with own_path(path) as part:
        figure.savefig(part, dpi=130)


def _draw(ax: Axes, found: Mapping[str, Seen], metric: str) -> None:
    known = {name: seen for name, seen in found.items() if seen.accuracy is not None}
    line = [seen for name, seen in known.items() if name.startswith(THUMBNAIL)]
    ax.plot([seen.seconds for seen in line], [seen.accuracy for seen in line], color="tab:gray")
    for name, seen in known.items():
        ax.scatter(seen.seconds, seen.accuracy, label=name)
    if known:
        ax.legend(frameon=False, fontsize=8)
    ax.set(title="accuracy and time", xlabel="seconds an image", xlim=(0, None), ylim=(0, None))
    ax.set_ylabel(f"{plot_text(metric)}, %")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
