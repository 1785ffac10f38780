"""Checkpoints of a run.

One holds ``model``, ``trainer`` (iteration, optimizer, schedule, scaler), ``run`` (stage, loss
normalisers, data fingerprint), ``ema`` where it is used, and ``classes``. A file is written beside
its final name and then renamed, so that a kill leaves the earlier one intact; where the last one
is broken all the same, a run resumes from the one before.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lowres_d2.atomic import atomic_path
from lowres_d2.modeling.weights import LoadReport, fill_model, load_weights, read_checkpoint

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import TrainerBase
from torch import nn

logger = logging.getLogger(__name__)

__all__ = [
    "LoadReport",
    "RunCheckpointer",
    "RunState",
    "TrainerState",
    "load_weights",
    "read_checkpoint",
]


class RunCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with atomic writes, and routing of bare detectors' weights."""

    def __init__(self, model: nn.Module, save_dir: str = "", **checkpointables: Any) -> None:
        self.classes: list[str] = []
        self.report: LoadReport | None = None
        self._saved = ""
        super().__init__(model, save_dir, **checkpointables)

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<save_dir>/<name>.pth`` and point ``last_checkpoint`` to it, both by rename.

        Raises:
            OSError: the disk is full or the folder cannot be written; what was there stays as it
                was.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        if self._saved and not Path(self.save_dir).is_dir():
            logger.warning("%s has vanished with all it held; it is made anew", self.save_dir)
            self._saved = ""
        data = {"model": self.model.state_dict(), "classes": list(self.classes)}
        data |= {key: part.state_dict() for key, part in self.checkpointables.items()}
        path = Path(self.save_dir, f"{name}.pth")
        try:
            # Through Python's file: its errors say what the disk's were.
            with atomic_path(path, durable=True) as beside, beside.open("wb") as file:
                torch.save(data | kwargs, file)
            self.tag_last_checkpoint(path.name)
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"{path} could not be written ({_reason(error)}): {self._what_is_left()}; make "
                "room or give the folder back, then --resume"
            ) from error
        self._saved = path.name

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the newest checkpoint in ``last_checkpoint``."""
        with atomic_path(Path(self.save_dir, "last_checkpoint"), durable=True) as beside:
            beside.write_text(last_filename_basename, encoding="utf-8")

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a file; see :attr:`report` for what matched.

        Args:
            path: as of :func:`read_checkpoint`; empty for nothing.
            checkpointables: which parts besides the model to restore, where the file has them;
                None for all.

        Returns:
            What is left of the file's contents.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is broken, or was made by a run that this one cannot continue.
        """
        return self._restore(path, read_checkpoint(path), checkpointables) if path else {}

    def resume(self) -> bool:
        """Load the checkpoint that ``last_checkpoint`` names, or the newest one that is whole.

        Returns:
            Whether there is any.

        Raises:
            ValueError: there are some, but none is whole, or it is not of this run.
        """
        last = self._last_saved()
        problem = ""
        if last is not None:
            try:
                contents = read_checkpoint(last)
            except (ValueError, OSError) as error:
                problem = _reason(error)
            else:
                self._restore(str(last), contents, whole=True)
                self._saved = last.name
                return True
        found = self._newest_whole(but=last)
        if found is None:
            if problem:
                raise ValueError(f"{problem}; no other checkpoint in {self.save_dir} is whole")
            return False
        path, contents = found
        logger.warning(
            "%s; going on from the newest whole checkpoint, %s, of iteration %d",
            problem or f"{self.save_dir} has no last_checkpoint",
            path,
            contents["trainer"]["iteration"],
        )
        self._restore(str(path), contents, whole=True)
        if self.save_to_disk:
            self.tag_last_checkpoint(path.name)
        self._saved = path.name
        return True

    def _last_saved(self) -> Path | None:
        """What ``last_checkpoint`` names; None where it is not there or no text."""
        try:
            return Path(self.get_checkpoint_file()) if self.has_checkpoint() else None
        except UnicodeDecodeError:
            return None

    def _newest_whole(self, but: Path | None) -> tuple[Path, dict[str, Any]] | None:
        newest = None
        for path in sorted(Path(self.save_dir).glob("*.pth")):
            if path == but or path.name.startswith("."):  # half-written ones have a dot
                continue
            try:
                contents = read_checkpoint(path)
                iteration = contents["trainer"]["iteration"]
            except (ValueError, OSError, KeyError, TypeError):  # broken, or no checkpoint of a run
                continue
            if newest is None or iteration > newest[1]["trainer"]["iteration"]:
                newest = path, contents
        return newest

    def _what_is_left(self) -> str:
        if not self._saved:
            return "nothing was saved before"
        return f"{Path(self.save_dir, self._saved)}, saved before, is whole"

    def _restore(
        self,
        path: str,
        rest: dict[str, Any],
        checkpointables: list[str] | None = None,
        whole: bool = False,
    ) -> dict[str, Any]:
        self.report = fill_model(self.model, rest, path)
        del rest["model"]
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key not in rest and not whole:
                continue
            try:
                self.checkpointables[key].load_state_dict(rest.pop(key))
            except Exception as error:  # each part has its own way to say that it does not fit
                reason = str(error).split("\n")[0]
                fault = f"it has no {reason}" if isinstance(error, KeyError) else reason
                raise ValueError(
                    f"{path} is no checkpoint of this run ({key}: {fault}): resume with the "
                    "recipe and data it was made with, or start without --resume"
                ) from error
        return rest


def _reason(error: BaseException) -> str:
    """An error's first line; the operating system's word for it, where it has one."""
    return getattr(error, "strerror", None) or str(error).split("\n")[0]


class TrainerState:
    """A trainer as checkpoints hold it: with the number of the last step that it made.

    Args:
        trainer: after its last step it counts one further, and is evaluated and saved again.
    """

    def __init__(self, trainer: TrainerBase) -> None:
        self.trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """The trainer's own, with ``iteration`` as if it stood at the step it has made."""
        state = self.trainer.state_dict()
        at_the_end = 0 < self.trainer.max_iter == self.trainer.iter
        return state | {"iteration": self.trainer.iter - 1} if at_the_end else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it.

        Raises:
            ValueError: there is no telling the iteration, or it has another optimizer's state.
        """
        iteration = state["iteration"]
        if not isinstance(iteration, int) or iteration < 0:
            raise ValueError(f"its iteration is {iteration!r}")
        optimizer = self.trainer.optimizer
        # torch would put the file's settings in place of ours, and matches parameters by number.
        groups = zip(optimizer.param_groups, state["optimizer"]["param_groups"], strict=False)
        for missing in [sorted(set(ours) - set(theirs)) for ours, theirs in groups]:
            if missing:
                raise ValueError(
                    f"its optimizer has no {', '.join(missing)}, it is no "
                    f"{type(optimizer).__name__}'s"
                )
        self.trainer.load_state_dict(state)
        for parameter, numbers in optimizer.state.items():
            for name, value in numbers.items():
                if not _fits(value, parameter):
                    raise ValueError(
                        f"its optimizer's {name} of a parameter of {tuple(parameter.shape)} is "
                        f"{tuple(value.shape) if isinstance(value, torch.Tensor) else value!r}"
                    )


def _fits(value: Any, parameter: torch.Tensor) -> bool:
    """Whether an optimizer can hold this about a parameter: a number, or one for each of its own.

    Some keep one for each row or column.
    """
    if not isinstance(value, torch.Tensor):
        return value is None or isinstance(value, int | float)
    sides = zip(value.shape, parameter.shape, strict=False)
    return value.dim() in (0, parameter.dim()) and all(a in (1, b) for a, b in sides)


class RunState:
    """What a run must know again after a restart and no other part stores.

    Args:
        model: the ``loss_normalizer`` of its dense detectors is stored here; it is no buffer, and
            they set it in their first step.
        fingerprint: of the training data; another one at resume is an error.
    """

    def __init__(self, model: nn.Module, fingerprint: str) -> None:
        self._modules = dict(model.named_modules())
        self.fingerprint = fingerprint
        self.stage = ""

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and texts."""
        normalizers = {
            name: float(module.loss_normalizer)
            for name, module in self._modules.items()
            if hasattr(module, "loss_normalizer")
        }
        return {
            "fingerprint": self.fingerprint,
            "stage": self.stage,
            "loss_normalizer": normalizers,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them.

        Raises:
            ValueError: the run was trained on other data.
        """
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"it was trained on other data, fingerprint {state['fingerprint']}, "
                f"now {self.fingerprint}"
            )
        self.stage = state["stage"]
        for name, value in state["loss_normalizer"].items():
            self._modules[name].loss_normalizer = value
