"""How to build a layer like another one."""

from __future__ import annotations

from typing import Any

from torch import nn


def arguments_of(layer: nn.Conv2d | nn.Linear) -> dict[str, Any]:
    """The arguments that build a layer of the same shape, device and dtype.

    Those of Detectron2's ``Conv2d`` hold its norm and activation, the modules themselves.
    """
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
