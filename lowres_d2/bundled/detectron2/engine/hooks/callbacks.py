"""Hooks that call a function of the user's: at any moment of training, or to evaluate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from detectron2.engine.trainer_base import HookBase, TrainerBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm

TrainerFunction = Callable[[TrainerBase], None]


class CallbackHook(HookBase):
    """Functions in place of a hook class; each takes the trainer.

    Args:
        before_train: called once before the first iteration.
        after_train: called once after the last.
        before_step: called before each iteration.
        after_step: called after each iteration.
    """

    def __init__(
        self,
        *,
        before_train: TrainerFunction | None = None,
        after_train: TrainerFunction | None = None,
        before_step: TrainerFunction | None = None,
        after_step: TrainerFunction | None = None,
    ) -> None:
        self._functions = {
            "before_train": before_train,
            "after_train": after_train,
            "before_step": before_step,
            "after_step": after_step,
        }

    def _call(self, moment: str) -> None:
        function = self._functions.get(moment)
        if function is not None:
            function(self.trainer)

    def before_train(self) -> None:
        self._call("before_train")

    def after_train(self) -> None:
        self._call("after_train")
        # Closures often hold the trainer; letting go of them lets it be freed.
        self._functions.clear()

    def before_step(self) -> None:
        self._call("before_step")

    def after_step(self) -> None:
        self._call("after_step")


class EvalHook(HookBase):
    """Evaluate now and then, and put the results into the event storage.

    Args:
        eval_period: iterations between evaluations; 0 for none before the end.
        eval_function: takes nothing, returns a nested dict of numbers, or nothing; called on every
            rank.
        eval_after_train: also evaluate after the last iteration, unless training was cut short.
    """

    def __init__(
        self,
        eval_period: int,
        eval_function: Callable[[], Mapping[str, Any] | None],
        eval_after_train: bool = True,
    ) -> None:
        self._period = eval_period
        self._func = eval_function
        self._eval_after_train = eval_after_train

    def _do_eval(self) -> None:
        results = self._func()
        if results:
            if not isinstance(results, Mapping):
                raise TypeError(
                    f"EvalHook: eval_function must return a dict, got {type(results).__name__}"
                )
            numbers = {}
            for name, value in flatten_results_dict(results).items():
                try:
                    numbers[name] = float(value)
                except (TypeError, ValueError) as error:
                    raise ValueError(
                        f"EvalHook: eval_function's result {name!r} is {value!r}, not a number"
                    ) from error
            self.trainer.storage.put_scalars(**numbers, smoothing_hint=False)
        # Ranks evaluate at different speeds; none may run into the next collective alone.
        comm.synchronize()

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if self._period > 0 and done % self._period == 0 and done != self.trainer.max_iter:
            self._do_eval()

    def after_train(self) -> None:
        if self._eval_after_train and self.trainer.iter + 1 >= self.trainer.max_iter:
            self._do_eval()
        del self._func  # see CallbackHook.after_train
