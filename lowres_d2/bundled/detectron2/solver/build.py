"""Parameter groups: which learning rate and weight decay each parameter gets.

A group is a dict of ``params`` and hyperparameters, as torch optimizers take them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from detectron2._uncovered import uncovered
from torch import nn

# These read yacs configs.
build_optimizer = uncovered("detectron2.solver.build_optimizer")
build_lr_scheduler = uncovered("detectron2.solver.build_lr_scheduler")
GradientClipType = uncovered("detectron2.solver.build.GradientClipType")
maybe_add_gradient_clipping = uncovered("detectron2.solver.build.maybe_add_gradient_clipping")

NORM_LAYERS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)


def get_default_optimizer_params(
    model: nn.Module,
    base_lr: float | None = None,
    weight_decay: float | None = None,
    weight_decay_norm: float | None = None,
    bias_lr_factor: float | None = 1.0,
    weight_decay_bias: float | None = None,
    lr_factor_func: Callable[[str], float] | None = None,
    overrides: Mapping[str, Mapping[str, float]] | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups of a model for a torch optimizer; frozen parameters are left out.

    Later rules win: the defaults, normalisation layers, ``lr_factor_func``, then biases and
    ``overrides``, which set values as they are. A value of None leaves it to the optimizer.

    Args:
        model: its trainable parameters, each once.
        base_lr: learning rate.
        weight_decay: weight decay.
        weight_decay_norm: weight decay of the parameters of normalisation layers.
        bias_lr_factor: learning rate of biases as a multiple of ``base_lr``.
        weight_decay_bias: weight decay of biases (also those of normalisation layers).
        lr_factor_func: takes a parameter's full name, gives a factor of ``base_lr``.
        overrides: hyperparameters by a parameter's own name, such as
            ``{"embedding": {"lr": 0.01}}``.

    Example:
        ``torch.optim.SGD(get_default_optimizer_params(model, weight_decay_norm=0), lr=0.01)``
    """
    by_name = {name: dict(values) for name, values in (overrides or {}).items()}
    bias = _given(
        lr=None if bias_lr_factor in (None, 1.0) else _times(base_lr, bias_lr_factor),
        weight_decay=weight_decay_bias,
    )
    if bias:
        if "bias" in by_name:
            raise ValueError(
                "overrides['bias'] clashes with bias_lr_factor or weight_decay_bias: give one"
            )
        by_name["bias"] = bias
    if lr_factor_func is not None and base_lr is None:
        raise ValueError("lr_factor_func needs base_lr, which is None")

    groups = []
    seen: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        norm = _given(weight_decay=weight_decay_norm) if isinstance(module, NORM_LAYERS) else {}
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            values = {**_given(lr=base_lr, weight_decay=weight_decay), **norm}
            if lr_factor_func is not None:
                values["lr"] *= lr_factor_func(f"{module_name}.{name}")
            groups.append({"params": [parameter], **values, **by_name.get(name, {})})
    return reduce_param_groups(groups)


def _given(**values: float | None) -> dict[str, float]:
    return {key: value for key, value in values.items() if value is not None}


def _times(base_lr: float | None, factor: float) -> float:
    if base_lr is None:
        raise ValueError(f"bias_lr_factor={factor} needs base_lr, which is None")
    return base_lr * factor


def _expand_param_groups(params: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One group a parameter; of those named several times, later groups' values win."""
    single: dict[Any, dict[str, Any]] = {}
    for group in params:
        values = {key: value for key, value in group.items() if key != "params"}
        for parameter in group["params"]:
            single.setdefault(parameter, {"params": [parameter]}).update(values)
    return list(single.values())


def reduce_param_groups(params: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join groups with equal hyperparameters: optimizers loop over groups, so few are faster.

    Args:
        params: parameter groups; a parameter may stand in several.
    """
    joined: dict[tuple, list[torch.Tensor]] = {}
    for group in _expand_param_groups(params):
        values = tuple((key, value) for key, value in group.items() if key != "params")
        joined.setdefault(values, []).extend(group["params"])
    return [{**dict(values), "params": members} for values, members in joined.items()]
