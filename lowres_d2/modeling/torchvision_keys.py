"""Names of weights in torchvision's ResNets, for which Detectron2 has others.

timm's ResNets have torchvision's names, too: ``layer1.0.bn1.weight`` is Detectron2's
``res2.0.conv1.norm.weight``. Such a file is recognised by its names alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lowres_d2.modeling.checkpoint_keys import COUNTER, layer_names

from torch import nn

AUTHOR = "torchvision"  # Detectron2's zoo says so of those that it has renamed
_MARKS = {f"{block}{layer}.weight" for block in ("", "layer1.0.") for layer in ("conv1", "bn1")}
_HEAD = re.compile(r"fc\.")
_WRAPPER = "module."  # of a training with several GPUs
# (pattern, replacement), each applied to the whole name, in this order.
_RULES = (
    (r"^(conv|bn)1\.", r"stem.\g<0>"),
    *((rf"^layer{stage}\.", f"res{stage + 1}.") for stage in (1, 2, 3, 4)),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
)


def resnet_names(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, str]:
    """Names in the model of the weights of torchvision's ResNet.

    Args:
        state_dict: weights of any model.
        model: the model to load them into.

    Returns:
        The model's name for each name in ``state_dict``, but the classifier's (``fc``) and the
        counters of batch norms. Those that have no place in the model keep their names. Empty if
        ``state_dict`` is of another network, or the model has no ResNet of Detectron2's.
    """
    wrapper = _WRAPPER if _WRAPPER + "conv1.weight" in state_dict else ""
    own = {name.removeprefix(wrapper): name for name in state_dict}
    if not own.keys() >= _MARKS:
        return {}
    kept = [name for name in own if not (_HEAD.match(name) or name.endswith(COUNTER))]
    placed = layer_names([_detectron2_name(name) for name in kept], model)
    if not any(placed):
        return {}
    return {own[name]: found or own[name] for name, found in zip(kept, placed, strict=True)}


def _detectron2_name(name: str) -> str:
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name
