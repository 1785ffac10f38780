"""The weights that a run's folder, or the name of a quick model, stands for."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from lowres_d2.near_names import listed, near, nearest_name
from lowres_d2.quick_models import quick_file, quick_names
from lowres_d2.saved_configs import CONFIG
from lowres_d2.weight_files import REMEDY, split_query

# Detectron2's names of weights in a run's folder, and of the file that names the last ones.
BEST, FINAL = "model_best.pth", "model_final.pth"
LAST = "last_checkpoint"
ENDINGS = (".pth", ".pt", ".pkl", ".pyth", ".safetensors")
_LOOKED_AT = 1000  # entries of a folder, in the search for what a missing path may have meant


def weights_file(path: str | Path) -> str:
    """The path itself; of a run's folder the best weights, else the final, else the last ones.

    Args:
        path: a file or address of weights, the folder of a run, or the name of a quick model, which
            a file or folder of this name hides.

    Raises:
        FileNotFoundError: there is no such file, or it is a folder without weights; names the
            weights that are there, or the nearest.
        ValueError: an address has another query than ``?matching_heuristics=True``.
    """
    folder = Path(path)
    if not folder.is_dir():
        place, _ = split_query(str(path))
        if "://" not in place and not os.path.exists(place):
            quick = quick_file(place)
            if quick:
                return str(quick)
            raise FileNotFoundError(f"no weights at {path}{_instead(Path(place))}")
        return str(path)
    names = _wanted(folder)
    found = next((name for name in names if (folder / name).is_file()), None)
    if found is None:
        earlier = sorted(p.name for p in folder.glob("earlier*") if any(p.glob("*.pth")))
        aside = f"; the files of earlier runs there are in {', '.join(earlier)}" if earlier else ""
        raise FileNotFoundError(
            f"{path} is a folder without weights ({', '.join(names)}): give the folder of a run "
            f"that has saved a checkpoint, or a file of weights{aside}"
        )
    return str(folder / found)


def saved_weights(folder: str | Path) -> list[str]:
    """Names of the files of weights in a folder, a run's best ones first; empty: there are none."""
    try:
        names = [path.name for path in islice(Path(folder).iterdir(), _LOOKED_AT)]
        first = _wanted(Path(folder))
    except (OSError, ValueError):  # no folder, none that may be read, or a damaged one
        return []
    found = [name for name in names if _are_weights(name)]
    return sorted(found, key=lambda name: (name not in first, name != BEST, name != FINAL, name))


def _wanted(folder: Path) -> list[str]:
    """The names that a run's folder stands for, the first that is there."""
    last = folder / LAST
    saved = [last.read_text(encoding="utf-8").strip()] if last.is_file() else []
    return [BEST, FINAL, *saved]


def _are_weights(name: str) -> bool:
    return name.endswith(ENDINGS) and not name.startswith((".", "non_finite"))


def _instead(path: Path) -> str:
    """The end of a message about missing weights."""
    folder = path.parent
    saved = saved_weights(folder)
    if not saved:
        return near_weights(path) or f": {REMEDY}"
    text = near(path.name, saved) if path.name not in (BEST, FINAL) else ""
    text += f"; {folder} has {', '.join(saved[:4])}" + (", ..." if len(saved) > 4 else "")
    if FINAL not in saved and (folder / LAST).is_file():
        text += (
            "; its run has not finished: "
            f"train --config-file {folder / CONFIG} --resume continues it"
        )
    return text


def near_weights(path: str | Path) -> str:
    """The end of a message about a path that is not there: the nearest run, file or quick model.

    A bare name may mean a quick model. Runs and files are looked for where the path stops to exist.
    Where none is near, those there are listed; empty: there are none.
    """
    path = Path(path)
    quick = near(path.name, quick_names()) if path == Path(path.name) else ""
    if quick:
        return quick
    above = next(part for part in path.parents if part == part.parent or part.is_dir())
    if above == Path(path.anchor):  # all of a machine, or nothing
        return ""
    first, *rest = path.relative_to(above).parts
    try:
        there = sorted(islice(above.iterdir(), _LOOKED_AT))
    except OSError:
        return ""
    known = [p.name for p in there if _are_weights(p.name) or saved_weights(p)]
    name = nearest_name(first, known)
    if not name:
        # Of a bare name nothing says that a run is meant.
        return listed([str(above / other) for other in known]) if above.name else ""
    whole = above.joinpath(name, *rest)
    return f", nearest: {str(whole if whole.exists() else above / name)!r}"
