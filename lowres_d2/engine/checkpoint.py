"""Checkpoints of a run.

A checkpoint holds ``model``, ``trainer`` (iteration, optimizer, schedule, gradient scaler), ``run``
(stage, loss normalizers, fingerprint of the data), ``ema`` if weights are averaged, and what the
weights are: ``classes``, their ``category_ids`` in the annotation file of the training data, and
``recipe``, the text of a ``config.yaml``. It is written under a
temporary name and then renamed, so that a kill leaves the previous one intact. If the last
checkpoint is damaged all the same, a run resumes from the newest one that is intact.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lowres_d2.atomic import atomic_path
from lowres_d2.engine.run_folder import MOVING
from lowres_d2.modeling.run_weights import LAST, weights_file
from lowres_d2.modeling.weights import LoadReport, fill_model, load_weights, read_checkpoint

import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

logger = logging.getLogger(__name__)

__all__ = [
    "LoadReport",
    "RunCheckpointer",
    "RunState",
    "load_weights",
    "read_checkpoint",
]


class CheckpointNotWrittenError(OSError):
    """A checkpoint could not be written; says which one, why, and what there is to resume from."""


class RunCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with atomic writes; a composition also loads a bare detector's."""

    def __init__(self, model: nn.Module, save_dir: str = "", **checkpointables: Any) -> None:
        self.classes: list[str] = []
        self.category_ids: list[int] = []
        self.recipe = self.resumed_recipe = ""
        self.report: LoadReport | None = None
        self._saved = ""
        self._found: tuple[Path, dict[str, Any]] | None = None
        super().__init__(model, save_dir, **checkpointables)

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<save_dir>/<name>.pth`` and name it in ``last_checkpoint``, each atomically.

        Raises:
            CheckpointNotWrittenError: the disk is full or the folder is not writable; earlier
                checkpoints are unchanged.
        """
        # Detectron2 sets save_to_disk in the main process only.
        if not self.save_dir or not self.save_to_disk:
            return
        if self._saved and not Path(self.save_dir).is_dir():
            logger.warning(
                "%s was deleted during the run, with its earlier checkpoints; creating it again",
                self.save_dir,
            )
            self._saved = ""
        data = {"model": self.model.state_dict(), "classes": list(self.classes)}
        data |= {"category_ids": list(self.category_ids)} if self.category_ids else {}
        data |= {"recipe": self.recipe} if self.recipe else {}
        data |= {key: part.state_dict() for key, part in self.checkpointables.items()}
        path = Path(self.save_dir, f"{name}.pth")
        try:
            # Through a Python file, whose errors carry the system's reason; torch's own do not.
            with atomic_path(path, durable=True) as beside, beside.open("wb") as file:
                torch.save(data | kwargs, file)
            # Last, so that last_checkpoint never names an incomplete file.
            self.tag_last_checkpoint(path.name)
        except (OSError, RuntimeError) as error:
            raise CheckpointNotWrittenError(
                f"checkpoint {path} could not be written ({_reason(error)}); "
                f"{self._describe_previous()}: free disk space or make the folder writable, then "
                f"{'continue with --resume' if self._saved else 'start again'}"
            ) from error
        self._saved = path.name

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the newest checkpoint in ``last_checkpoint``."""
        with atomic_path(Path(self.save_dir, LAST), durable=True) as beside:
            beside.write_text(last_filename_basename, encoding="utf-8")

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a file; :attr:`report` then says which tensors matched.

        Args:
            path: file or address, see :func:`read_checkpoint`; empty loads nothing.
            checkpointables: parts besides the model to restore, if the file has them; None: all.

        Returns:
            The contents of the file that were not loaded.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is broken, or belongs to a run that this one cannot continue.
        """
        if not path:
            return {}
        path = weights_file(path)
        return self._restore(path, read_checkpoint(path), checkpointables)

    def find(self) -> dict[str, Any] | None:
        """Contents of the checkpoint that ``last_checkpoint`` names, or else of the newest intact.

        :meth:`resume` loads it. It is read once.

        Returns:
            The contents; None: there is no checkpoint.

        Raises:
            ValueError: none of the checkpoints is intact.
        """
        if self._found is None:
            self._found = self._find()
        return None if self._found is None else self._found[1]

    def resume(self) -> bool:
        """Load the checkpoint that :meth:`find` gives.

        :attr:`resumed_recipe` is then the recipe, as text, that it was saved with.

        Returns:
            Whether there was a checkpoint.

        Raises:
            ValueError: none of the checkpoints is intact, or it does not belong to this run.
        """
        if self.find() is None:
            return False
        (path, contents), self._found = self._found, None
        self._restore(str(path), contents, require_all=True)
        self._saved = path.name
        return True

    def _find(self) -> tuple[Path, dict[str, Any]] | None:
        if Path(self.save_dir, MOVING).exists():  # what is left there is of an earlier run
            return None
        last = self._last_saved()
        problem = ""
        if last is not None:
            try:
                return last, read_checkpoint(last)
            except (ValueError, OSError) as error:
                problem = _reason(error)
        found = self._newest_intact(but=last)
        if found is None:
            if problem:
                raise ValueError(
                    f"{problem}; no other checkpoint in {self.save_dir} is intact: start without "
                    "--resume"
                )
            return None
        path, contents = found
        logger.warning(
            "%s; resuming from the newest intact checkpoint, %s (iteration %d)",
            problem or f"{self.save_dir} has no readable last_checkpoint",
            path,
            contents["trainer"]["iteration"],
        )
        # The next resume, and programs that follow last_checkpoint, then find the intact one.
        if self.save_to_disk:
            self.tag_last_checkpoint(path.name)
        return found

    def _last_saved(self) -> Path | None:
        """The file that ``last_checkpoint`` names; None if that is missing or not text."""
        try:
            return Path(self.get_checkpoint_file()) if self.has_checkpoint() else None
        except UnicodeDecodeError:
            return None

    def _newest_intact(self, but: Path | None) -> tuple[Path, dict[str, Any]] | None:
        newest = None
        for path in sorted(Path(self.save_dir).glob("*.pth")):
            if path == but or path.name.startswith("."):  # half-written ones start with a dot
                continue
            try:
                contents = read_checkpoint(path)
                iteration = contents["trainer"]["iteration"]
            except (ValueError, OSError, KeyError, TypeError):  # broken, or weights alone
                continue
            # By iteration: names may have none (model_best), and a copied file has a new date.
            if newest is None or iteration > newest[1]["trainer"]["iteration"]:
                newest = path, contents
        return newest

    def _describe_previous(self) -> str:
        if not self._saved:
            return "there is no earlier checkpoint"
        return f"the previous checkpoint {Path(self.save_dir, self._saved)} is intact"

    def _restore(
        self,
        path: str,
        rest: dict[str, Any],
        checkpointables: list[str] | None = None,
        require_all: bool = False,
    ) -> dict[str, Any]:
        self.report = fill_model(self.model, rest, path)
        del rest["model"]
        for key in self.checkpointables if checkpointables is None else checkpointables:
            # A file of weights alone lacks these parts; a checkpoint to resume from needs all.
            if key not in rest and not require_all:
                continue
            try:
                self.checkpointables[key].load_state_dict(rest.pop(key))
            except Exception as error:  # each part raises its own kind where the state does not fit
                reason = str(error).split("\n")[0]
                fault = f"it has no {reason}" if isinstance(error, KeyError) else reason
                raise ValueError(
                    f"{path} is not a checkpoint of this run ({key}: {fault}): resume with the "
                    "recipe and data it was trained with, or start without --resume"
                ) from error
        self.resumed_recipe = str(rest.get("recipe", ""))
        if require_all and "ema" in rest:
            logger.warning("%s has an average of the weights; train.ema is off: not used", path)
        return rest


def _reason(error: BaseException) -> str:
    """First line of an error; for an OSError the operating system's own words."""
    return getattr(error, "strerror", None) or str(error).split("\n")[0]


class RunState:
    """State of a run that no other part of a checkpoint holds.

    Args:
        model: the ``loss_normalizer`` of its dense detectors is stored here: it is not a buffer,
            and they set it in their first iteration.
        fingerprint: fingerprint of the training data; resuming with other data is an error.
    """

    def __init__(self, model: nn.Module, fingerprint: str) -> None:
        self._modules = dict(model.named_modules())
        self.fingerprint = fingerprint
        self.stage = ""
        self.stages: list[tuple[str, int]] = []  # name and length of each

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        normalizers = {
            name: float(module.loss_normalizer)
            for name, module in self._modules.items()
            if hasattr(module, "loss_normalizer")
        }
        return {
            "fingerprint": self.fingerprint,
            "stage": self.stage,
            "stages": [list(stage) for stage in self.stages],
            "loss_normalizer": normalizers,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them.

        Raises:
            ValueError: the run was trained on other data.
        """
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"it was trained on other data (fingerprint {state['fingerprint']}, "
                f"now {self.fingerprint})"
            )
        self.stage = state["stage"]
        for name, value in state["loss_normalizer"].items():
            self._modules[name].loss_normalizer = value
