"""Checkpoints of a run, and weights from elsewhere, loaded with a count of what matched.

A run's checkpoint holds ``model``, ``trainer`` (iteration, optimizer, schedule, scaler), ``run``
(stage, loss normalisers, data fingerprint), ``ema`` where it is used, and ``classes``. A file is
written beside its final name and then renamed, so that a kill leaves the earlier one intact.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowres_d2.atomic import atomic_path
from lowres_d2.engine.ema import averaged_weights
from lowres_d2.modeling import route_detector_checkpoint

import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn


@dataclass
class LoadReport:
    """How a file's tensors met a model's."""

    path: str
    total: int
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)

    @property
    def matched(self) -> int:
        return self.total - len(self.missing) - len(self.misshapen)

    def __str__(self) -> str:
        text = f"{self.path}: {self.matched} of {self.total} tensors of the model loaded"
        for words, names in (
            ("not in the file", self.missing),
            ("of another shape", self.misshapen),
            ("of the file unused", self.unexpected),
        ):
            if names:
                more = ", ..." if len(names) > 3 else ""
                text += f"; {len(names)} {words} ({', '.join(names[:3])}{more})"
        return text


class RunCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with atomic writes, and routing of bare detectors' weights."""

    def __init__(self, model: nn.Module, save_dir: str = "", **checkpointables: Any) -> None:
        self.classes: list[str] = []
        self.use_average = False
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

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".safetensors"):
            from safetensors.torch import load_file

            return {"model": load_file(filename)}
        checkpoint = super()._load_file(filename)
        if self.use_average and "ema" in checkpoint:
            checkpoint["model"] = averaged_weights(checkpoint["ema"])
        return checkpoint

    def _load_model(self, checkpoint: Any) -> Any:
        if not checkpoint.get("matching_heuristics"):  # which match by the names' tails
            checkpoint["model"] = route_detector_checkpoint(checkpoint["model"], self.model)
        incompatible = super()._load_model(checkpoint)
        misshapen = [entry[0] for entry in incompatible.incorrect_shapes]
        self.report = LoadReport(
            path=self.path,
            # Batch norm's counters are no weights; zoo files lack them, and none is missed.
            total=sum(not n.endswith("num_batches_tracked") for n in self.model.state_dict()),
            # Tensors of another shape are left out of the file's and would be listed again.
            missing=[name for name in incompatible.missing_keys if name not in misshapen],
            unexpected=list(incompatible.unexpected_keys),
            misshapen=misshapen,
        )
        return incompatible

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        """Nothing: the report says it in one line."""

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a file; see :attr:`report` for what matched.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is not a checkpoint, or is broken.
        """
        with _naming_broken_files(path):
            self.path = path
            return super().load(path, checkpointables=checkpointables)


@contextlib.contextmanager
def _naming_broken_files(path: str | Path) -> Iterator[None]:
    """Turn what reading a missing or broken file raises into one line that names it."""
    if path and "://" not in str(path) and not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}: give a .pth, .pkl or .safetensors file")
    try:
        yield
    except (EOFError, pickle.UnpicklingError, RuntimeError, AttributeError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"{path} is not a readable checkpoint ({reason}): expected .pth, .pkl or .safetensors"
        ) from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a run's ``.pth`` checkpoint onto the CPU, without executing anything in it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken.
    """
    with _naming_broken_files(path):
        return torch.load(path, map_location="cpu", weights_only=True)


def load_weights(
    model: nn.Module, path: str | Path, complete: bool = False, use_average: bool = False
) -> LoadReport:
    """Load weights into a model: a run's checkpoint, a bare detector's, or a Detectron2 zoo file.

    Args:
        model: a detector, or a :class:`LowResDetector`, whose ``detector`` then receives a bare
            detector's weights.
        path: a file or a ``detectron2://`` or ``https://`` address.
        complete: every tensor of the model must be in the file.
        use_average: take the moving average of the weights, where the file has one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, matches nothing, or ``complete`` does not hold.
    """
    checkpointer = RunCheckpointer(model)
    checkpointer.use_average = use_average
    checkpointer.load(str(path), checkpointables=[])
    report = checkpointer.report
    if report.matched == 0:
        raise ValueError(f"{report}: these weights belong to another model")
    if complete and report.matched < report.total:
        raise ValueError(f"{report}: evaluation needs all of them; check --config-file and weights")
    return report


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
                f"the checkpoint was trained on other data (fingerprint {state['fingerprint']}, "
                f"now {self.fingerprint}): resume with the same data, or start without --resume"
            )
        self.stage = state["stage"]
        for name, value in state["loss_normalizer"].items():
            self._modules[name].loss_normalizer = value
