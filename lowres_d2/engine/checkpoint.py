"""Checkpoints of a run.

One holds ``model``, ``trainer`` (iteration, optimizer, schedule, scaler), ``run`` (stage, loss
normalisers, data fingerprint), ``ema`` where it is used, and ``classes``. A file is written beside
its final name and then renamed, so that a kill leaves the earlier one intact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lowres_d2.atomic import atomic_path
from lowres_d2.modeling.weights import LoadReport, fill_model, load_weights, read_checkpoint

import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

__all__ = ["LoadReport", "RunCheckpointer", "RunState", "load_weights", "read_checkpoint"]


class RunCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with atomic writes, and routing of bare detectors' weights."""

    def __init__(self, model: nn.Module, save_dir: str = "", **checkpointables: Any) -> None:
        self.classes: list[str] = []
        self.report: LoadReport | None = None
        super().__init__(model, save_dir, **checkpointables)

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<save_dir>/<name>.pth`` and point ``last_checkpoint`` to it, both by rename."""
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict(), "classes": list(self.classes)}
        data |= {key: part.state_dict() for key, part in self.checkpointables.items()}
        path = Path(self.save_dir, f"{name}.pth")
        with atomic_path(path) as beside:
            torch.save(data | kwargs, beside)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the newest checkpoint in ``last_checkpoint``."""
        with atomic_path(Path(self.save_dir, "last_checkpoint")) as beside:
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
        if not path:
            return {}
        rest = read_checkpoint(path)
        self.report = fill_model(self.model, rest, path)
        del rest["model"]
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key not in rest:
                continue
            try:
                self.checkpointables[key].load_state_dict(rest.pop(key))
            except Exception as error:  # each part has its own way to say that it does not fit
                reason = str(error).split("\n")[0]
                raise ValueError(
                    f"{path} is no checkpoint of this run ({key}: {reason}): resume with the "
                    "recipe and data it was made with, or start without --resume"
                ) from error
        return rest


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
