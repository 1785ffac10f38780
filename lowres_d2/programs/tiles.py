"""Compare whole images, all tiles, and a thumbnail first: AP and time.

The recipe's model is in tiles and looks at a thumbnail first: ``+tiles.size=512 +tiles.first=4``.
Compared are its detector on whole images, the thumbnail alone, the thumbnail with the tiles of each
--unsure, and all tiles with the whole image shrunk to one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lowres_d2.modeling.tiles import TINY, UNSURE, TiledDetector
from lowres_d2.programs.command_lines.tiles import parse
from lowres_d2.programs.variant_study import Evaluated, Study, Variant
from lowres_d2.programs.variants import run_program

from omegaconf import DictConfig, OmegaConf
from tabulate import tabulate
from torch import nn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FULL, ALL, THUMBNAIL = "full frame", "all tiles", "thumbnail"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    run_program(
        parse(arguments),
        lambda cfg, unsure, quick: compare_tiles(cfg, [*map(_scores, unsure)], quick),
    )


def _scores(text: str) -> list[float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"--unsure {text}: expected two scores, such as 0.1,0.5") from None
    return [low, high]


def compare_tiles(
    cfg: DictConfig, unsure: Sequence[Sequence[float]] = (), quick: int = 0
) -> dict[str, Evaluated]:
    """Evaluate and time a recipe's detector for each way to see large images.

    Writes ``tiles.json``, ``tiles.md`` and ``tiles.png`` into the recipe's output folder, and what
    was detected into a folder for each.

    Args:
        cfg: the recipe, with ``train.init_checkpoint``; its model looks at a thumbnail first.
        unsure: lowest and highest score of what is looked at again; none for the model's own.
        quick: number of images to evaluate on, as in :class:`Study`.

    Returns:
        By its name, the cheapest first.

    Raises:
        ValueError: there are no weights, or the model looks at no thumbnail first.
    """
    if OmegaConf.select(cfg, "dataloader.test.mapper.windows"):
        raise ValueError(
            "dataloader.test.mapper.windows=true: whole images are compared, too, so set it to "
            "false"
        )
    study = Study(cfg, "tiles", quick)
    if not isinstance(study.model, TiledDetector) or not study.model.first_look:
        raise ValueError("the model looks at no thumbnail first: add +tiles.first=4")
    variants = {
        name: Variant(name, name.replace(", then", "").replace(" ", "_"), model)
        for name, model in _models(study.model, unsure).items()
    }
    with study.claimed():
        found = study.evaluate(variants, study.images())
        record = {name: _record(seen, study.metric, study.machine) for name, seen in found.items()}
        table = f"{_table(found, study.metric)}\n\n{study.machine}"
        study.report(table, record, lambda ax: _draw(ax, found))
    return found


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


def _seconds(seen: Evaluated) -> float:
    """Of an image."""
    return 1 / seen.timing.images_per_second


def _table(found: Mapping[str, Evaluated], metric: str) -> str:
    rows = [
        [
            name,
            _share(name, seen),
            seen.accuracy,
            _seconds(seen),
            seen.timing.times_faster_than(found[ALL].timing),
        ]
        for name, seen in found.items()
    ]
    head = ["seen", "tiles looked at, %", metric, "s an image", "faster than all tiles"]
    form = ("", ".1f", ".2f", ".3f", ".2f")
    return tabulate(rows, head, tablefmt="github", floatfmt=form, missingval="")


def _share(name: str, seen: Evaluated) -> float | None:
    """Percent of the tiles that were looked at; None where there are none."""
    if name == ALL:
        return 100.0
    return None if seen.looked_at is None else 100 * seen.looked_at.share


def _record(seen: Evaluated, metric: str, machine: str) -> dict[str, Any]:
    looked_at = seen.looked_at and {"tiles": seen.looked_at.tiles, "of": seen.looked_at.of}
    values = {"metric": metric, "accuracy": seen.accuracy, "seconds": _seconds(seen)}
    return values | {"looked_at": looked_at, "machine": machine}


def _draw(ax: Axes, found: Mapping[str, Evaluated]) -> None:
    """Accuracy over seconds an image, a point for each way to see it."""
    known = {name: seen for name, seen in found.items() if seen.accuracy is not None}
    line = [seen for name, seen in known.items() if name.startswith(THUMBNAIL)]
    ax.plot([*map(_seconds, line)], [seen.accuracy for seen in line], color="tab:gray")
    for name, seen in known.items():
        ax.scatter(_seconds(seen), seen.accuracy, label=name)
    if known:
        ax.legend(frameon=False, fontsize=8)
    ax.set(title="accuracy and time", xlabel="seconds an image", xlim=(0, None))
