"""A run that was killed between a checkpoint and the evaluation of the same iteration."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.engine import HookBase


class MissedEvaluation(HookBase):
    """Where a run goes on right after an iteration that ends with an evaluation, do that first.

    The checkpoint is written before, so that an evaluation that fails costs no training; whether it
    was finished is not known. Done twice it gives the same.

    Args:
        period: iterations between evaluations; 0 for none.
        hooks: that evaluate and use what was found, in order, registered before this one.
    """

    def __init__(self, period: int, hooks: Sequence[HookBase | None]) -> None:
        self._period = period
        self._hooks = [hook for hook in hooks if hook is not None]

    def before_train(self) -> None:
        start = self.trainer.start_iter
        # The last evaluation follows the training in any case.
        if not self._period or not start or start % self._period or start == self.trainer.max_iter:
            return
        self._set_iteration(start - 1)
        for hook in self._hooks:
            hook.after_step()
        self._set_iteration(start)

    def _set_iteration(self, iteration: int) -> None:
        self.trainer.iter = self.trainer.storage.iter = iteration
