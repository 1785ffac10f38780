"""Keep the best checkpoint of a run, also across restarts."""

from __future__ import annotations

from typing import Any

from detectron2.engine import hooks
from fvcore.common.checkpoint import Checkpointer


class BestWeights(hooks.BestCheckpointer):
    """Detectron2's hook, which also remembers the best value when the run resumes.

    Args:
        eval_period: iterations between evaluations.
        checkpointer: writes the checkpoint.
        val_metric: name of the metric in the event storage.
        mode: ``max`` or ``min``: which value is the best.

    Raises:
        ValueError: ``mode`` is neither.
    """

    def __init__(
        self,
        eval_period: int,
        checkpointer: Checkpointer,
        val_metric: str,
        mode: str = "max",
    ) -> None:
        if mode not in ("max", "min"):
            raise ValueError(f"train.best.mode={mode!r}: expected max or min")
        # The hook itself takes the checkpointer's place, so that upstream calls `save` below.
        super().__init__(eval_period, self, val_metric, mode)
        self._saves = checkpointer
        self._metric, self._mode = val_metric, mode

    def save(self, name: str, **state: Any) -> None:
        """Save the best weights; called by Detectron2's hook.

        Upstream calls it before it stores the new best value. The value is stored here first, since
        a run that resumes from this very checkpoint needs it.
        """
        self._update_best(*self.trainer.storage.latest()[self._metric])
        state["iteration"] = self.best_iter
        self._saves.save(name, **state)

    def _update_best(self, val: float, iteration: int) -> bool:
        # A metric of the evaluation after training has max_iter as its iteration; a checkpoint has
        # the last finished one.
        return super()._update_best(val, min(iteration, self.trainer.max_iter - 1))

    def state_dict(self) -> dict[str, Any]:
        """The best value so far and its iteration, and which metric it is."""
        return {
            "best_metric": self.best_metric,
            "best_iter": self.best_iter,
            "val_metric": self._metric,
            "mode": self._mode,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them; the best value of another metric than the recipe's is forgotten."""
        # A checkpoint of an earlier version does not say which metric it was.
        kept = (state.get("val_metric", self._metric), state.get("mode", self._mode))
        if kept == (self._metric, self._mode):
            self.best_metric, self.best_iter = state["best_metric"], state["best_iter"]
