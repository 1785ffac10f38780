"""A trainer's state in a checkpoint: iteration, moments of the optimizer, gradient scaler, hooks.

Settings (learning rate, weight decay and every other option of the optimizer) are not restored: a
resumed run takes them from its recipe, so that they can be changed between two starts. Moments are
matched to parameters by name, because another setting may divide the parameters into other groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, count
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from torch import nn


class TrainerState:
    """A trainer's state for checkpoints, with the index of the last iteration that it finished.

    Args:
        trainer: Detectron2's. After training its ``iter`` is one past the last iteration, and then
            it is evaluated and saved once more.
        model: the model without its distributed wrapper, which names the parameters.
    """

    def __init__(self, trainer: SimpleTrainer, model: nn.Module) -> None:
        self.trainer = trainer
        names = {parameter: name for name, parameter in model.named_parameters()}
        groups = trainer.optimizer.param_groups
        # In the optimizer's order, in which its state counts them.
        self._names = [names[p] for p in chain.from_iterable(g["params"] for g in groups)]
        self._left: dict[str, Any] = {}  # states of hooks that this run has not

    def state_dict(self) -> dict[str, Any]:
        """The trainer's own, with the last finished iteration, and the parameters' names.

        States of hooks that were loaded and have no hook in this run are in it, too: the best
        metric outlives a start without evaluation.
        """
        state = self.trainer.state_dict() | {"parameters": self._names}
        if hooks := self._left | state.get("hooks", {}):
            state["hooks"] = hooks
        at_the_end = 0 < self.trainer.max_iter == self.trainer.iter
        return state | {"iteration": self.trainer.iter - 1} if at_the_end else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it; the optimizer's settings stay those that it was built with.

        Raises:
            ValueError: the iteration is invalid, or the state belongs to another optimizer or to
                other parameters.
        """
        iteration = state["iteration"]
        if not isinstance(iteration, int) or iteration < 0:
            raise ValueError(f"its iteration is {iteration!r}, expected an integer of at least 0")
        optimizer = self.trainer.optimizer
        moments = self._moments_in_order(state)
        self._check(moments)
        for group in optimizer.param_groups:
            # What the schedule multiplies; it is not stepped yet.
            group["initial_lr"] = group["lr"]
        settings = optimizer.state_dict()["param_groups"]
        state = state | {"optimizer": {"state": moments, "param_groups": settings}}
        scaler = getattr(self.trainer, "grad_scaler", None)
        if scaler is not None and not state.get("grad_scaler"):
            # Mixed precision was off until now: the scale starts as in a new run.
            state["grad_scaler"] = scaler.state_dict()
        registered = {type(hook).__qualname__ for hook in self.trainer._hooks}
        hooks = state.get("hooks", {})
        self._left = {name: part for name, part in hooks.items() if name not in registered}
        # Without them: Detectron2 warns of each.
        state["hooks"] = {name: part for name, part in hooks.items() if name in registered}
        self.trainer.load_state_dict(state)

    def _moments_in_order(self, state: Mapping[str, Any]) -> dict[int, Any]:
        """The file's moments, counted in this optimizer's order."""
        found, groups = state["optimizer"]["state"], state["optimizer"]["param_groups"]
        names = state.get("parameters", self._names)
        sizes = [len(group["params"]) for group in groups]
        ours = [len(group["params"]) for group in self.trainer.optimizer.param_groups]
        # A file of an earlier version has no names: its groups have to be these.
        if sum(sizes) != len(names) or ("parameters" not in state and sizes != ours):
            raise ValueError(
                f"its optimizer has groups of {sizes} parameters, this recipe trains {ours}"
            )
        odd = sorted({*names} ^ {*self._names})
        if odd:
            raise ValueError(
                f"its optimizer has other parameters than this recipe trains ({odd[0]}"
                f"{', ...' if len(odd) > 1 else ''})"
            )
        place = {name: number for number, name in enumerate(self._names)}
        return {place[names[k]]: moments for k, moments in found.items()}

    def _check(self, moments: Mapping[int, Mapping[str, Any]]) -> None:
        """Raise where the optimizer would fail, or use moments of another shape."""
        optimizer, place = self.trainer.optimizer, count()
        for group in optimizer.param_groups:
            needed = _moments_of(optimizer, group)
            for parameter in group["params"]:
                found = moments.get(next(place))
                if not found:  # no stage has trained it yet
                    continue
                missing = sorted(needed - {n for n, value in found.items() if value is not None})
                if missing:
                    raise ValueError(
                        f"its optimizer state has no {', '.join(missing)}: it was not saved by "
                        f"{type(optimizer).__name__} with these settings"
                    )
                for name, value in found.items():
                    if not _fits(value, parameter):
                        raise ValueError(
                            f"its optimizer's {name} for a parameter of shape "
                            f"{tuple(parameter.shape)} is {_described(value)}"
                        )


def _moments_of(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> frozenset[str]:
    """Names of what an optimizer with a group's settings keeps for a parameter.

    They depend on settings (``amsgrad``, ``momentum``), and an optimizer reveals them by stepping:
    one of the same class steps on a parameter of one element.
    """
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    settings = {key: value for key, value in group.items() if key != "params"}
    # Fused and capturable steps may need another device; they keep the same moments.
    settings |= {key: False for key in ("fused", "capturable") if key in settings}
    probe = object.__new__(type(optimizer))
    probe.__dict__.update(optimizer.__dict__)
    probe.state = torch.optim.SGD([parameter]).state
    probe.param_groups = [{"params": [parameter], **settings}]
    try:
        probe.step()
    except Exception:  # an optimizer of the user's may need more than that
        return frozenset()
    return frozenset(name for name, x in probe.state[parameter].items() if x is not None)


def _fits(value: Any, parameter: torch.Tensor) -> bool:
    """Whether an optimizer can hold this for a parameter: a number, or one for each element.

    Some optimizers keep one number for each row or column (Adafactor).
    """
    if not isinstance(value, torch.Tensor):
        return value is None or isinstance(value, int | float)
    sides = zip(value.shape, parameter.shape, strict=False)
    return value.dim() in (0, parameter.dim()) and all(a in (1, b) for a, b in sides)


def _described(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else repr(value)
