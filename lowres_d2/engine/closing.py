"""The last lines of a run: what it has reached, and the files and commands to continue with."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from lowres_d2.engine.hooks.best import BestWeights
from lowres_d2.engine.run_folder import MOVING
from lowres_d2.evaluation.classification import TASK as CLASSIFICATION
from lowres_d2.evaluation.shown import BOXES
from lowres_d2.modeling.run_weights import BEST, FINAL, LAST, weights_file
from lowres_d2.saved_configs import CONFIG, OPTION, RefusedConfigError, modules_to_trust

from omegaconf import DictConfig, OmegaConf

_LABEL = 11  # width of the first column, as in the start-up report


def describe_end(
    cfg: DictConfig, iterations: int, best: BestWeights | None, task: str = BOXES.task
) -> str:
    """What a finished run has left, and the commands to evaluate it and to run it on images.

    Args:
        cfg: the recipe.
        iterations: finished ones.
        best: knows the best evaluation; None: the run was evaluated at its end only.
        task: what the evaluator measures: the demo draws boxes; classifiers are called in Python.
    """
    folder, wanted = Path(cfg.train.output_dir), cfg.train.max_iter
    early = f" of {wanted:,}, stopped early" if iterations < wanted else ""
    config, weights = _quoted(folder / CONFIG), _quoted(weights_file(folder))
    environment = _environment(folder / CONFIG)
    program = " ".join([*environment, _program()])
    rows = [("iterations", f"{iterations:,}{early}")]
    if best is not None and best.best_metric is not None and (folder / BEST).is_file():
        value = f"{cfg.train.best.val_metric} {best.best_metric:.1f}"
        rows.append(("best", f"{folder / BEST} ({value}, iteration {best.best_iter + 1:,})"))
    agreed = getattr(OmegaConf.select(cfg, "dataloader.test.dataset"), "labelled_by", "")
    if agreed:
        rows.append(("metrics", f"agreement with the {agreed}; there is no ground truth"))
    rows += [
        ("final", f"{folder / FINAL}"),
        ("recipe", f"{folder / CONFIG}"),
        ("evaluate", f"{program} train --config-file {config} --eval-only "
         f"train.init_checkpoint={weights}"),
    ]  # fmt: skip
    if task == BOXES.task:
        demo = f"{program} demo --weights {_quoted(folder)}"  # its best weights, with their recipe
        rows.append(("detect", f"{demo} --input IMAGES --output FOLDER"))
    elif task == CLASSIFICATION:
        code = (
            f"import lowres_d2; model = lowres_d2.load({json.dumps(str(folder))}); "
            'print(model.class_names[model("IMAGE").label])'
        )
        rows.append(("classify", " ".join([*environment, "python", "-c", shlex.quote(code)])))
    rows.append(("curves", f"tensorboard --logdir {_quoted(folder)}"))
    return "\n".join(f"  {label:{_LABEL}}{text}" for label, text in rows)


def describe_interruption(cfg: DictConfig) -> str:
    """What a run that is stopped by hand has left to continue from.

    Args:
        cfg: the recipe.
    """
    folder = Path(cfg.train.output_dir)
    last = folder / LAST
    saved = folder / last.read_text(encoding="utf-8").strip() if last.is_file() else folder
    if saved.is_file() and not (folder / MOVING).exists():
        return f"interrupted; --resume continues from {saved}"
    return (
        f"interrupted before the first checkpoint (train.checkpointer.period="
        f"{cfg.train.checkpointer.period}): the run starts anew, with --resume as well"
    )


def _quoted(path: str | Path) -> str:
    return shlex.quote(str(path))


def _environment(config: Path) -> list[str]:
    """Variables without which a recipe is refused that names classes of the user's own."""
    try:
        modules = modules_to_trust(config.read_text(encoding="utf-8"))
    except (FileNotFoundError, RefusedConfigError):
        modules = []
    if not modules:
        return []
    found = [f"{OPTION}={','.join(modules)}"]
    installed = {
        Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")
    }
    known = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    searched = {Path(path).resolve() for path in known}
    folders = dict.fromkeys(folder for folder in map(_folder_of, modules) if folder is not None)
    needed = [_quoted(f) for f in folders if not searched & {f} and not installed & {f, *f.parents}]
    if needed:
        more = ["$PYTHONPATH"] if known else []
        found.append(f"PYTHONPATH={os.pathsep.join(needed + more)}")
    return found


def _folder_of(module: str) -> Path | None:
    """The folder in which Python finds a module."""
    spec = None if module == "__main__" else find_spec(module)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return path.parent.parent if spec.submodule_search_locations else path.parent


def _program() -> str:
    """The command as it can be called here: in a clone that is not installed by its module."""
    return "lowres-d2" if shutil.which("lowres-d2") else "python -m lowres_d2"
