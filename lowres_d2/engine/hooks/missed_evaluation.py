"""Repeat an evaluation that a kill may have interrupted."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.engine import HookBase


class MissedEvaluation(HookBase):
    """Evaluates before training if a run resumes right after an iteration with an evaluation.

    The checkpoint of such an iteration is written before the evaluation, so that an evaluation that
    fails costs no training; a resumed run cannot know whether it was finished. A second evaluation
    gives the same results.

    Args:
        period: iterations between evaluations; 0 for none.
        hooks: hooks that evaluate and use the results, in order, registered before this one.
    """

    def __init__(self, period: int, hooks: Sequence[HookBase | None]) -> None:
        self._period = period
        self._hooks = [hook for hook in hooks if hook is not None]

    def before_train(self) -> None:
        start = self.trainer.start_iter
        # The last evaluation is done after training in any case.
        if not self._period or not start or start % self._period or start == self.trainer.max_iter:
            return
        # The hooks decide by the iteration whether to evaluate, and log under it.
        self._set_iteration(start - 1)
        for hook in self._hooks:
            hook.after_step()
        self._set_iteration(start)

    def _set_iteration(self, iteration: int) -> None:
        self.trainer.iter = self.trainer.storage.iter = iteration
