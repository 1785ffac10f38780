"""Hooks that write checkpoints: periodically, and whenever a metric is better than before."""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Mapping
from typing import Any

from detectron2.engine.trainer_base import HookBase
from fvcore.common.checkpoint import Checkpointer
from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer

logger = logging.getLogger(__name__)


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):
    """fvcore's periodic checkpointer as a hook: same arguments, ``max_iter`` from the trainer."""

    def before_train(self) -> None:
        self.max_iter = self.trainer.max_iter

    def after_step(self) -> None:
        self.step(self.trainer.iter)


class BestCheckpointer(HookBase):
    """Save the model whenever its evaluation is the best so far; register it after ``EvalHook``.

    Args:
        eval_period: the ``EvalHook``'s period.
        checkpointer: writes the file.
        val_metric: name in the event storage, such as ``bbox/AP``.
        mode: ``max`` or ``min``, which is better.
        file_prefix: name of the file, without ``.pth``.
    """

    def __init__(
        self,
        eval_period: int,
        checkpointer: Checkpointer,
        val_metric: str,
        mode: str = "max",
        file_prefix: str = "model_best",
    ) -> None:
        if mode not in ("max", "min"):
            raise ValueError(f"BestCheckpointer: mode must be max or min, got {mode!r}")
        self._period = eval_period
        self._checkpointer = checkpointer
        self._val_metric = val_metric
        self._better = operator.gt if mode == "max" else operator.lt
        self._file_prefix = file_prefix
        self.best_metric: float | None = None
        self.best_iter: int | None = None

    def _update_best(self, val: float, iteration: int) -> bool:
        """Keep a value as the best so far; False for one that is NaN or infinite."""
        if not math.isfinite(val):
            return False
        self.best_metric, self.best_iter = val, iteration
        return True

    def _best_checking(self) -> None:
        latest = self.trainer.storage.latest().get(self._val_metric)
        if latest is None:
            logger.warning(
                f"BestCheckpointer: no metric {self._val_metric!r} has been recorded yet; "
                "nothing is saved"
            )
            return
        value, iteration = latest
        worse = self.best_metric is not None and not self._better(value, self.best_metric)
        if worse and math.isfinite(value):
            logger.info(
                f"{self._val_metric} is {value:.5f}; the best stays {self.best_metric:.5f} of "
                f"iteration {self.best_iter}"
            )
        if worse or not self._update_best(value, iteration):
            return
        self._checkpointer.save(self._file_prefix, iteration=iteration)
        logger.info(f"{self._val_metric} is {value:.5f}, the best so far; saved as the best model")

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if self._period > 0 and done % self._period == 0 and done != self.trainer.max_iter:
            self._best_checking()

    def after_train(self) -> None:
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self._best_checking()

    def state_dict(self) -> dict[str, Any]:
        if self.best_metric is None:
            return {}
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the best value of the run that is resumed.

        Args:
            state_dict: what ``state_dict`` gave.
        """
        self.best_metric, self.best_iter = state_dict["best_metric"], state_dict["best_iter"]
