"""Learning-rate schedules: fvcore's parameter schedules with warm-up, and two older torch ones.

A parameter schedule is a function of progress, 0 to 1, that gives a multiple of the base rate.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)
from torch.optim.lr_scheduler import LRScheduler

__all__ = [
    "LRMultiplier",
    "LRScheduler",
    "WarmupCosineLR",
    "WarmupMultiStepLR",
    "WarmupParamScheduler",
]


class WarmupParamScheduler(CompositeParamScheduler):
    """A schedule with a warm-up in front.

    Args:
        scheduler: the schedule.
        warmup_factor: the first value, as a multiple of the schedule's first.
        warmup_length: the warm-up's share of training, 0 to 1.
        warmup_method: ``linear`` (up to where it meets the schedule) or ``constant``.
        rescale_interval: squeeze the whole schedule behind the warm-up; otherwise the warm-up
            replaces its beginning.
    """

    def __init__(
        self,
        scheduler: ParamScheduler,
        warmup_factor: float,
        warmup_length: float,
        warmup_method: str = "linear",
        rescale_interval: bool = False,
    ) -> None:
        start = warmup_factor * scheduler(0.0)
        end = scheduler(0.0 if rescale_interval else warmup_length)
        if warmup_method == "linear":
            warmup = LinearParamScheduler(start, end)
        elif warmup_method == "constant":
            warmup = ConstantParamScheduler(start)
        else:
            raise _unknown_method(warmup_method)
        super().__init__(
            [warmup, scheduler],
            lengths=[warmup_length, 1 - warmup_length],
            interval_scaling=["rescaled", "rescaled" if rescale_interval else "fixed"],
        )


class LRMultiplier(LRScheduler):
    """Drive an optimizer's rates by a parameter schedule, one ``step`` an iteration.

    Args:
        optimizer: each group's rate at the start is its base.
        multiplier: takes progress (iteration / ``max_iter``), gives the multiple of the base.
        max_iter: iterations in all.
        last_iter: the last iteration that was done, for resuming; -1 for none.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        multiplier: ParamScheduler,
        max_iter: int,
        last_iter: int = -1,
    ) -> None:
        if not isinstance(multiplier, ParamScheduler):
            raise TypeError(
                "LRMultiplier: multiplier must be an fvcore ParamScheduler, got "
                f"{type(multiplier).__name__}"
            )
        self._multiplier = multiplier
        self._max_iter = max_iter
        super().__init__(optimizer, last_epoch=last_iter)

    def state_dict(self) -> dict[str, Any]:
        # Without the schedule: it belongs to the config, and may have changed in it.
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.__dict__.update(state_dict)

    def get_lr(self) -> list[float]:
        multiple = self._multiplier(self.last_epoch / self._max_iter)
        return [rate * multiple for rate in self.base_lrs]


class WarmupMultiStepLR(LRScheduler):
    """Steps down at milestones, with warm-up; ``LRMultiplier`` is the newer form.

    Args:
        optimizer: its rates are set.
        milestones: ascending iterations after which the rate falls.
        gamma: factor at each milestone.
        warmup_factor: first value, as a multiple.
        warmup_iters: iterations of warm-up.
        warmup_method: ``linear`` or ``constant``.
        last_epoch: the last iteration that was done.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        warmup_factor: float = 0.001,
        warmup_iters: int = 1000,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        if list(milestones) != sorted(milestones):
            raise ValueError(f"WarmupMultiStepLR: milestones must ascend, got {milestones}")
        self.milestones = milestones
        self.gamma = gamma
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        self.warmup_method = warmup_method
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        multiple = self.gamma ** bisect_right(self.milestones, self.last_epoch) * _warmup(self)
        return [rate * multiple for rate in self.base_lrs]


class WarmupCosineLR(LRScheduler):
    """Half a cosine down to 0, with warm-up; ``LRMultiplier`` is the newer form.

    Args:
        optimizer: its rates are set.
        max_iters: iterations in all.
        warmup_factor: first value, as a multiple.
        warmup_iters: iterations of warm-up.
        warmup_method: ``linear`` or ``constant``.
        last_epoch: the last iteration that was done.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        max_iters: int,
        warmup_factor: float = 0.001,
        warmup_iters: int = 1000,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        self.max_iters = max_iters
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        self.warmup_method = warmup_method
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.last_epoch / self.max_iters))
        return [rate * cosine * _warmup(self) for rate in self.base_lrs]


def _warmup(schedule: WarmupMultiStepLR | WarmupCosineLR) -> float:
    """The warm-up's factor in the schedule's present iteration."""
    return _get_warmup_factor_at_iter(
        schedule.warmup_method, schedule.last_epoch, schedule.warmup_iters, schedule.warmup_factor
    )


def _get_warmup_factor_at_iter(
    method: str, iter: int, warmup_iters: int, warmup_factor: float
) -> float:
    """The warm-up's factor, from `warmup_factor` in iteration 0 to 1 after `warmup_iters`."""
    if iter >= warmup_iters:
        return 1.0
    if method == "constant":
        return warmup_factor
    if method == "linear":
        progress = iter / warmup_iters
        return warmup_factor * (1 - progress) + progress
    raise _unknown_method(method)


def _unknown_method(method: str) -> ValueError:
    return ValueError(f"warmup_method must be linear or constant, got {method!r}")
