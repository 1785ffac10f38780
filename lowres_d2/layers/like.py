"""How to build a layer like another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def arguments_of(layer: nn.Conv2d | nn.Linear) -> dict[str, Any]:
    """The arguments that build a layer of the same shape, device and dtype.

    Those of Detectron2's ``Conv2d`` hold its norm and activation, the modules themselves.

    Raises:
        ValueError: the layer has what another one would not have: hooks, as those of
            ``weight_norm``, ``spectral_norm`` and ``prune`` are.
    """
    hooks = (layer._forward_pre_hooks, layer._forward_hooks, layer._backward_hooks)
    if any(hooks) or layer.weight is not layer._parameters.get("weight"):
        raise ValueError(
            "has hooks (of weight_norm, spectral_norm or pruning?), which a layer in its place "
            "would lack: remove them first"
        )
    common = dict(bias=layer.bias is not None, device=layer.weight.device, dtype=layer.weight.dtype)
    if isinstance(layer, nn.Linear):
        return dict(in_features=layer.in_features, out_features=layer.out_features, **common)
    return dict(
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        padding_mode=layer.padding_mode,
        norm=getattr(layer, "norm", None),
        activation=getattr(layer, "activation", None),
        **common,
    )


def take_over(layer: Any, old: nn.Conv2d | nn.Linear, own: Iterable[nn.Parameter]) -> Any:
    """Give a layer the parameters and the mode of the one whose place it takes.

    Args:
        layer: it is changed.
        old: the other one.
        own: parameters that only the new layer has: frozen if the old one's weights are.

    Returns:
        The layer.
    """
    layer.weight, layer.bias = old.weight, old.bias
    layer.training = old.training
    for parameter in own:
        parameter.requires_grad_(old.weight.requires_grad)
    return layer
