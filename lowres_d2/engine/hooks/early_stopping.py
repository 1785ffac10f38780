"""End a run whose evaluations no longer improve."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lowres_d2.engine.hooks.best import BestWeights
from lowres_d2.modeling.run_weights import FINAL

from detectron2.engine import HookBase
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer

logger = logging.getLogger(__name__)


class StoppedEarly(BaseException):
    """Leaves the trainer's loop; not an Exception, which trainers log as a failure."""


class EarlyStopping(HookBase):
    """Ends a run when the best metric has not improved for a number of evaluations.

    The run ends as if this were its last iteration: the final checkpoint is written, and evaluated.
    Of a run in stages only evaluations of the last stage count, since an earlier one prepares it
    and may not improve the metric at all. Register it before the hooks that begin an iteration.

    Args:
        best: knows the best evaluation; None on processes other than the main one.
        checkpointer: writes the final checkpoint.
        eval_period: iterations between evaluations.
        patience: evaluations without a better one after which the run ends.
        first_iteration: first iteration of the last stage.

    Raises:
        ValueError: the run evaluates at its end only.
    """

    def __init__(
        self,
        best: BestWeights | None,
        checkpointer: Checkpointer,
        eval_period: int,
        patience: int,
        first_iteration: int = 0,
    ) -> None:
        if not eval_period:
            raise ValueError(
                "train.early_stopping needs evaluations to decide by: set train.eval_period"
            )
        self._best, self._checkpointer = best, checkpointer
        self._period, self._patience, self._first = eval_period, patience, first_iteration
        # Iterations of a run that had stopped, and with what patience.
        self._stopped: dict[str, int] = {}

    def before_train(self) -> None:
        start = self.trainer.start_iter
        # With more patience than it had, a run that is resumed continues.
        if self._stopped.get("iterations") == start and self._patience <= self._stopped["patience"]:
            logger.info(
                "the run had stopped early, after %d iterations; to continue it raise "
                "train.early_stopping.patience",
                start,
            )
            self.trainer.max_iter = start

    def before_step(self) -> None:
        trainer = self.trainer
        # The loop itself does not see a changed max_iter; hooks do after training.
        if trainer.iter == trainer.max_iter:
            raise StoppedEarly
        if trainer.iter % self._period or not comm.all_gather(self._is_exhausted())[0]:
            return
        whole, trainer.max_iter = trainer.max_iter, trainer.iter
        self._stopped = {"iterations": trainer.iter, "patience": self._patience}
        if self._best is not None:
            logger.info(
                "stopping early after %d of %d iterations: no better evaluation than that of "
                "iteration %d in %d evaluations (train.early_stopping.patience)",
                trainer.iter,
                whole,
                self._best.best_iter + 1,
                self._patience,
            )
            self._checkpointer.save(Path(FINAL).stem, iteration=trainer.iter - 1)
        raise StoppedEarly

    def state_dict(self) -> dict[str, Any]:
        """Where the run has stopped; empty if it has not."""
        return self._stopped

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._stopped = dict(state)

    def _is_exhausted(self) -> bool:
        if self._best is None or self._best.best_iter is None:  # no evaluation with the metric yet
            return False
        since = max(self._best.best_iter + 1, self._first)
        return self.trainer.iter - since >= self._patience * self._period
