"""The folder of a run: one run at a time writes into it, and what an earlier one wrote is kept.

A run that starts at its first iteration moves the files of an earlier run, as one thing, into
``earlier<k>`` in the folder: nothing of it is resumed, evaluated or plotted as the new run's, and
nothing is lost. ``earlier<k>`` is the folder of a run itself. The move survives a kill: it is
finished by the next start, and until then there is nothing to resume.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lowres_d2.atomic import atomic_path
from lowres_d2.engine.processes.folder_lock import ELSEWHERE, FolderInUse, folder_lock
from lowres_d2.engine.processes.log_files import LOG, open_log_files
from lowres_d2.evaluation.classification import CLASSIFICATIONS, SUMMARY_CLASSES
from lowres_d2.evaluation.found_boxes import PREDICTIONS
from lowres_d2.evaluation.sized_coco import SUMMARY
from lowres_d2.evaluation.sized_f1 import SUMMARY_F1
from lowres_d2.evaluation.super_resolution.evaluator import SIMILARITIES
from lowres_d2.numbered import next_numbered
from lowres_d2.own_files import LIST, adopt, why_unwritable
from lowres_d2.saved_configs import CONFIG

from detectron2.config import LazyConfig
from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf

logger = logging.getLogger(__name__)

LOCK, METRICS, EVALUATION = ".lock", "metrics.json", "evaluation.json"
# What evaluations write.
RESULTS = (
    *(EVALUATION, PREDICTIONS, SUMMARY, SUMMARY_F1),
    *(CLASSIFICATIONS, SUMMARY_CLASSES, SIMILARITIES),
)
# What `compare` and its like note of a run: what it is made from when it starts, its results when
# it has ended. Versions before this file wrote the digest of the recipe alone.
MADE_FROM, RECIPE_DIGEST, DONE = "made_from.json", "recipe.sha256", "done.json"
MOVING = ".earlier.part"
# Left by a start that is to begin anew, until it does: one that torchrun or SLURM makes in its
# place must not resume what an earlier run has left.
ANEW = ".starts_anew"
# What runs and evaluations write; subfolders are those of `--quick`, comparisons and sweeps.
_WRITTEN = re.compile(
    r"config(-earlier\d+)?\.yaml(\.pkl)?|log\.txt(\.rank\d+)?|metrics(-earlier\d+)?\.json"
    r"|events\.out\..*|last_checkpoint(-earlier\d+)?|model_(\d+|best|final)\.pth"
    r"|non_finite_.*\.pth"
    r"|evaluation\.json|coco_instances_results\.json|sized_\w+\.json|classifications\.json"
    r"|classification_summary\.json|super_resolution\.json|on_\d+|full_resolution"
    r"|(sweep|tiles)\.(json|md|png)|resolution_\d+(_\d+)?"
    r"|made_from\.json|recipe\.sha256|done\.json"
)


@contextlib.contextmanager
def claimed(output_dir: str | Path, fresh: bool = False) -> Iterator[None]:
    """In this context the folder is this run's alone; its log files are open.

    Entered when a run is built and checked, so that a start that fails changes nothing. All
    processes of the run enter it together.

    Args:
        output_dir: created if needed.
        fresh: the run starts at its first iteration; an earlier run's files are put aside.

    Raises:
        FolderInUse: another run writes into the folder.
        FileExistsError: there is a log that is none of a run.
        OSError: the folder cannot be written to.
    """
    folder = Path(output_dir)
    comm.synchronize()  # from here on no process reads files of an earlier run
    with contextlib.ExitStack() as held:
        if comm.is_main_process():
            made = [p for p in (folder, *folder.parents) if not p.exists()]
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(folder_lock(folder / LOCK))
            except FolderInUse:
                raise
            except OSError as error:
                with contextlib.suppress(OSError):
                    for path in made:
                        path.rmdir()
                raise OSError(_unwritable(folder, error.strerror)) from error
            _check_log(folder)  # before an earlier run's is put aside: this one may be the user's
            aside = put_aside(folder) if fresh else None
            (folder / ANEW).unlink(missing_ok=True)
        comm.synchronize()
        open_log_files()
        if comm.is_main_process() and aside is not None:
            logger.info("%s had an earlier run: its files are in %s now", folder, aside)
        yield


def check_writable(output_dir: str | Path) -> None:
    """Raise if the folder of a run cannot be written to, before data and model are built.

    Raises:
        OSError: names the folder.
    """
    # Of the main process: other machines may have folders of their own.
    reason = why_unwritable(output_dir) if comm.is_main_process() else ""
    if reason:
        raise OSError(_unwritable(output_dir, reason))


def _unwritable(folder: str | Path, reason: str | None) -> str:
    return f"{folder} cannot be written to ({reason}): choose {ELSEWHERE} for log and results"


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run: it has a run's log, or nothing but what runs write."""
    if any((folder / name).is_file() for name in (MADE_FROM, RECIPE_DIGEST)):
        return True
    log = folder / LOG
    if log.is_file() and log.stat().st_size:
        return _is_runs_log(log)
    names = [path.name for path in folder.iterdir()]
    hidden = (LIST, MOVING, ANEW)
    return all(
        _WRITTEN.fullmatch(name)
        or re.fullmatch(r"earlier\d+", name)
        or name in hidden
        or name.startswith(LOCK)
        for name in names
    )


def put_aside(folder: Path) -> Path | None:
    """Move the files of an earlier run into ``earlier<k>``.

    Returns:
        That folder; None: there was no earlier run.
    """
    found = [path for path in folder.iterdir() if _WRITTEN.fullmatch(path.name)]
    moving = folder / MOVING
    if not found and not moving.exists():
        return None
    moving.mkdir(exist_ok=True)
    for path in found:
        path.rename(moving / path.name)
    if (folder / LIST).is_file():  # other programs' files that stay are on it, too
        shutil.copy(folder / LIST, moving / LIST)
    return moving.rename(next_numbered(folder, "earlier"))


def check_sources(cfg: DictConfig) -> None:
    """Raise if a run that begins anew would put aside weights that its own recipe names.

    A resumed run would not find them, or later take its own for them.

    Raises:
        ValueError: names the key.
    """
    folder = Path(cfg.train.output_dir).resolve()
    for key in ("train.init_checkpoint", "model.teacher.checkpoint"):
        value = OmegaConf.select(cfg, key, default=None)
        path = Path(value).resolve() if isinstance(value, str | Path) and value else None
        own = path is not None and path.parent == folder and _WRITTEN.fullmatch(path.name)
        if own or path == folder:  # a folder stands for its weights
            raise ValueError(
                f"{key}: {value} is of the folder of this run, which puts the files of an earlier "
                f"one aside: choose {ELSEWHERE}"
            )


def _check_log(folder: Path) -> None:
    """Refuse to continue a log that is no run's; beside a run's, results are of runs, too."""
    log = folder / LOG
    if not log.exists():
        return
    if log.stat().st_size and not _is_runs_log(log):
        raise FileExistsError(
            f"{log} exists, and no run of this program wrote it: choose {ELSEWHERE}"
        )
    if not (folder / LIST).exists():  # of a version that kept no list
        adopt(folder / name for name in RESULTS if (folder / name).is_file())


def _is_runs_log(log: Path) -> bool:
    with log.open("rb") as file:
        # Names of the loggers that write first.
        return bool(re.search(rb"lowres_d2|detectron2", file.read(4000)))


def save_config(cfg: DictConfig, folder: str | Path) -> None:
    """Write a recipe, whose data sets must not have been built, as the folder's ``config.yaml``.

    A resumed run may have other settings than before, and a user may have edited the file: what it
    was is kept as ``config-earlier<k>.yaml``.
    """
    target = Path(folder, CONFIG)
    # Elsewhere first: what LazyConfig says of a full disk names its own files.
    with tempfile.TemporaryDirectory() as elsewhere:
        saved = Path(elsewhere, CONFIG)
        LazyConfig.save(cfg, str(saved))
        content, pickled = saved.read_bytes(), Path(f"{saved}.pkl")
        if pickled.exists():  # written where yaml cannot hold a value
            with atomic_path(f"{target}.pkl") as part:
                part.write_bytes(pickled.read_bytes())
    if target.exists() and target.read_bytes() != content:
        kept = next_numbered(target.parent, f"{target.stem}-earlier", target.suffix)
        with atomic_path(kept) as part:
            shutil.copy(target, part)
    with atomic_path(target) as part:
        part.write_bytes(content)
