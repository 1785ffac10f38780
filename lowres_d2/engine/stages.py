"""Training in stages: trainable parameters, active losses and learning rate, by iteration.

The optimizer and the distributed wrapper are built once, with every parameter that is trainable in
any stage; a stage then freezes parameters with ``requires_grad``. Gradients of frozen parameters
are None, never zero: weight decay and momentum change a parameter even where its gradient is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Any

from lowres_d2.engine.checkpoint import RunState
from lowres_d2.engine.processes.between_ranks import share_buffers
from lowres_d2.modeling import LowResDetector

from detectron2.engine import HookBase
from fvcore.common.param_scheduler import CompositeParamScheduler, ParamScheduler
from torch import nn


class Stage:
    """One stage of a run; a recipe lists its stages in ``train.stages``.

    Not a dataclass: OmegaConf would turn a dataclass in a recipe's list into a configuration.

    Args:
        name: name in the log and in checkpoints.
        iterations: length of the stage: a number of iterations (an int), or a share of the run (a
            float between 0 and 1), which gives at least one; None, allowed once, takes what the
            other stages leave. A stage that a run has finished keeps its length when the run is
            resumed with another ``train.max_iter``.
        trainable: shell patterns of the names of trainable parameters; what the recipe itself
            freezes stays frozen.
        losses: patterns of the active losses, as ``LossTerms`` takes them (``detector``,
            ``feature/*``, ``*/loss_cls``).
        eval_modules: shell patterns of modules kept in eval mode, which freezes the statistics of
            their batch norm.
        schedule: learning-rate multiplier over the stage, as a function of progress in [0, 1);
            None: the recipe's ``lr_multiplier``, which starts again with the stage.
        continues: continue the learning-rate curve of the previous stage, as if both were one.
        check: called after the last iteration with the model and the training inputs of that
            iteration; raises ValueError to stop the run, as ``NoDeadChannels`` does.

    Raises:
        ValueError: the stage has both ``continues`` and a schedule.
    """

    def __init__(
        self,
        name: str,
        iterations: int | float | None = None,
        trainable: Sequence[str] = ("*",),
        losses: Sequence[str] = ("*",),
        eval_modules: Sequence[str] = (),
        schedule: ParamScheduler | None = None,
        continues: bool = False,
        check: Callable[[nn.Module, list[dict[str, Any]]], None] | None = None,
    ) -> None:
        if continues and schedule is not None:
            raise ValueError(
                f"train.stages[{name}] has continues=True and a schedule of its own: remove one "
                "of them"
            )
        self.name = name
        self.iterations = iterations
        self.trainable = tuple(trainable)
        self.losses = tuple(losses)
        self.eval_modules = tuple(eval_modules)
        self.schedule = schedule
        self.continues = continues
        self.check = check

    def lasting(self, iterations: int | None) -> Stage:
        """A copy of the stage with another length."""
        stage = copy(self)
        stage.iterations = iterations
        return stage


def with_lengths(stages: Sequence[Stage], max_iter: int) -> list[Stage]:
    """The stages with their lengths in iterations: shares of the run, and the rest, are worked out.

    Raises:
        ValueError: an entry is not a stage, a length is neither an integer of 1 or more nor a share
            between 0 and 1, the lengths do not add up to ``max_iter``, or the first stage continues
            a curve.
    """
    for stage in stages:
        if not isinstance(stage, Stage):
            raise ValueError(f"train.stages has {stage!r}: expected a list of L(Stage)(...)")
        if not _is_length(stage.iterations):
            raise ValueError(
                f"train.stages[{stage.name}].iterations is {stage.iterations}: expected an integer "
                "of 1 or more, a share of the run such as 0.25, or None for the rest of the run"
            )
    if stages and stages[0].continues:
        raise ValueError(
            f"train.stages[{stages[0].name}].continues is set, but there is no stage before the "
            "first one: remove it"
        )
    if not stages:
        return []
    shares = [isinstance(stage.iterations, float) for stage in stages]
    if all(shares) and math.isclose(sum(stage.iterations for stage in stages), 1, abs_tol=1e-6):
        # The last one takes what rounding leaves.
        stages = [*stages[:-1], stages[-1].lasting(None)]
    lengths = [_in_iterations(stage.iterations, max_iter) for stage in stages]
    left = max_iter - sum(length or 0 for length in lengths)
    number_open = lengths.count(None)
    if number_open == 1 and left <= 0:
        raise ValueError(_nothing_left(stages, lengths, max_iter))
    if number_open > 1 or (left and not number_open):
        raise ValueError(_do_not_add_up(stages, lengths, max_iter))
    return [
        stage.lasting(left if length is None else length)
        for stage, length in zip(stages, lengths, strict=True)
    ]


def lengths_after_resume(
    stages: Sequence[Stage], max_iter: int, saved: Mapping[str, Any], start: int
) -> list[Stage]:
    """As :func:`with_lengths`, but stages that the run has finished keep the lengths that they had.

    With another ``max_iter`` a share would end a finished stage at another iteration, and the run
    could fall back into it. Shares are shared out over the iterations that are left.

    Args:
        stages: as the recipe lists them.
        max_iter: length of the whole run.
        saved: ``run`` of the checkpoint: ``stage``, and ``stages`` with their lengths.
        start: iterations that the run has done.

    Raises:
        ValueError: as :func:`with_lengths`; or the recipe gives a finished stage another length; or
            the run would fall back into an earlier stage.
    """
    fresh = with_lengths(stages, max_iter)
    if start > max_iter or not fresh:
        return fresh
    kept: list[int] = []
    for number, (stage, (name, length)) in enumerate(
        zip(stages[:-1], saved.get("stages", ()), strict=False)
    ):
        if name != stage.name or sum(kept) + length > start:
            break
        if isinstance(stage.iterations, int) and stage.iterations != length:
            raise ValueError(
                f"train.stages.{number}.iterations={stage.iterations} ({name}): the run has "
                f"finished this stage, which had {length}: set it to {length}"
            )
        kept.append(length)
    finished = [stage.lasting(n) for stage, n in zip(stages, kept, strict=False)]
    rest = _sharing(stages[len(kept) :], max_iter - sum(kept), max_iter) if kept else stages
    lengths = with_lengths([*finished, *rest], max_iter)
    _check_no_fall_back(lengths, saved.get("stage"), start)
    return lengths


def _sharing(stages: Sequence[Stage], left: int, max_iter: int) -> list[Stage]:
    """The stages with their shares in the same proportions, but of the iterations that are left."""
    values = [stage.iterations for stage in stages]
    total = sum(value for value in values if isinstance(value, float))
    left -= sum(value for value in values if isinstance(value, int))
    if None in values or not total or left <= 0:
        return list(stages)
    scaled = [v * left / (total * max_iter) if isinstance(v, float) else v for v in values]
    # One takes what rounding leaves.
    scaled[max(k for k, value in enumerate(values) if isinstance(value, float))] = None
    return [stage.lasting(value) for stage, value in zip(stages, scaled, strict=True)]


def _check_no_fall_back(stages: Sequence[Stage], saved: str | None, start: int) -> None:
    names = [stage.name for stage in stages]
    ends = list(accumulate(stage.iterations for stage in stages))
    current = sum(start >= end for end in ends[:-1])
    if saved in names[current + 1 :] and saved not in names[: current + 1]:
        keys = ", ".join(f"train.stages.{k}.iterations" for k in range(names.index(saved)))
        raise ValueError(
            f"the checkpoint was saved in stage {saved!r}, after {start} iterations, but with this "
            f"recipe the run would fall back into {names[current]!r}: set {keys} so that they add "
            f"up to {start} or less"
        )


def _is_length(value: Any) -> bool:
    if isinstance(value, float):
        return 0 < value < 1
    return value is None or (isinstance(value, int) and value >= 1)


def _in_iterations(value: int | float | None, max_iter: int) -> int | None:
    return max(1, round(value * max_iter)) if isinstance(value, float) else value


def _nothing_left(stages: Sequence[Stage], lengths: Sequence[int | None], max_iter: int) -> str:
    """Why the stage that takes the rest gets none, and how long the run must be at least."""
    number = lengths.index(None)
    others = [stage.iterations for stage in stages if stage.iterations is not None]
    shares = sum(value for value in others if isinstance(value, float))
    keys = ", ".join(
        f"train.stages.{k}.iterations={stage.iterations} ({stage.name})"
        for k, stage in enumerate(stages)
        if k != number
    )
    text = (
        f"train.max_iter={max_iter} leaves no iteration for train.stages.{number} "
        f"({stages[number].name}), since the others take {sum(n for n in lengths if n)} ({keys}): "
    )
    if shares >= 1:
        return f"{text}make their shares add up to less than 1"
    enough = max_iter + 1
    while sum(_in_iterations(value, enough) for value in others) >= enough:
        enough += 1
    return f"{text}set train.max_iter={enough} or more, or make the others shorter"


def _do_not_add_up(stages: Sequence[Stage], lengths: Sequence[int | None], max_iter: int) -> str:
    keys = ", ".join(
        f"train.stages.{number}.iterations={length} ({stage.name})"
        for number, (stage, length) in enumerate(zip(stages, lengths, strict=True))
    )
    return (
        f"the iterations of train.stages add up to {sum(length or 0 for length in lengths)}, "
        f"train.max_iter is {max_iter}: make them equal by {keys}, as iterations or as shares of "
        "the run such as 0.25; one of them may be None, which takes the rest (1 or more)"
    )


def stage_multiplier(stages: Sequence[Stage], default: ParamScheduler) -> ParamScheduler:
    """The learning-rate multiplier over a whole run: each stage's curve over its share of it.

    Args:
        stages: stages in order, with their lengths.
        default: multiplier of stages that have no schedule of their own.
    """
    if not stages:
        return default
    curves: list[ParamScheduler] = []
    iterations: list[int] = []
    for stage in stages:
        if stage.continues:
            iterations[-1] += stage.iterations
        else:
            curves.append(stage.schedule or default)
            iterations.append(stage.iterations)
    return CompositeParamScheduler(
        schedulers=curves,
        lengths=[count / sum(iterations) for count in iterations],
        # Each curve runs from its own start to its end; 'fixed' would show its share of the run.
        interval_scaling=["rescaled"] * len(curves),
    )


class StageSchedule(HookBase):
    """Applies each stage before its first iteration, also when a run resumes inside a stage.

    Args:
        model: the model without its distributed wrapper.
        stages: stages in order, with their lengths, which add up to the run's.
        state: receives the name of the current stage, for checkpoints.

    Raises:
        ValueError: a pattern matches nothing, or the model cannot switch losses.
    """

    def __init__(self, model: nn.Module, stages: Sequence[Stage], state: RunState) -> None:
        self._stages, self._state, self._model = stages, state, model
        self._ends = list(accumulate(stage.iterations for stage in stages))
        # Without what the recipe froze, so that no pattern of a stage unfreezes it.
        self._trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._modules = dict(model.named_modules())
        for stage in stages:
            for key, names in (("trainable", self._trainable), ("eval_modules", self._modules)):
                for pattern in getattr(stage, key):
                    # fnmatchcase, since fnmatch ignores case on Windows.
                    if not any(fnmatchcase(name, pattern) for name in names):
                        raise ValueError(
                            f"train.stages[{stage.name}].{key}: {pattern!r} matches nothing "
                            "in the model"
                        )
            self._switch_losses(stage)  # so that its errors come before the first iteration
        self._current: Stage | None = None
        self._batch: list[dict[str, Any]] = []
        if any(stage.check for stage in stages):
            model.register_forward_pre_hook(self._see_batch)

    def _see_batch(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._batch = arguments[0]

    def before_step(self) -> None:
        # From the iteration alone, so that a run can resume inside any stage.
        stage = self._stages[sum(self.trainer.iter >= end for end in self._ends)]
        if stage is not self._current:
            self.apply(stage)
        for module in self._kept_in_eval(stage):  # evaluation puts all modules back in train mode
            if module.training:
                module.eval()

    def after_step(self) -> None:
        if self._current.check is not None and self.trainer.iter + 1 in self._ends:
            try:
                self._current.check(self._model, self._batch)
            except ValueError as error:
                raise ValueError(f"at the end of stage {self._current.name!r}: {error}") from error

    def apply(self, stage: Stage) -> None:
        """Freeze and unfreeze parameters and choose losses; ``before_step`` sets the modes."""
        for name, parameter in self._trainable.items():
            parameter.requires_grad_(any(fnmatchcase(name, p) for p in stage.trainable))
            parameter.grad = None
        self._switch_losses(stage)
        # Including modules that the previous stage kept in eval mode.
        self._model.train()
        share_buffers(self._model)  # modules in eval mode read their statistics from here on
        self._current, self._state.stage = stage, stage.name

    def _switch_losses(self, stage: Stage) -> None:
        try:
            if isinstance(self._model, LowResDetector):
                self._model.loss_terms.active = stage.losses
            elif tuple(stage.losses) != ("*",):
                raise ValueError("only a LowResDetector can switch losses")
        except ValueError as error:
            raise ValueError(f"train.stages[{stage.name}].losses: {error}") from error

    def _kept_in_eval(self, stage: Stage) -> Iterator[nn.Module]:
        for name, module in self._modules.items():
            if any(fnmatchcase(name, pattern) for pattern in stage.eval_modules):
                yield module
