"""The network of a dense detector alone, its batch norms folded into the convolutions before them.

Folding changes no output beyond rounding. A head of Detectron2 has batch norms with statistics for
each level, so each level gets a head with weights of its own.
"""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from typing import Any

from lowres_d2.modeling.one_bit.towers import ShortcutTower

import torch
from detectron2.layers import Conv2d
from detectron2.layers.batch_norm import (
    CycleBatchNormList,
    FrozenBatchNorm2d,
    NaiveSyncBatchNorm,
)
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from jaxtyping import Float
from torch import Tensor, nn

# Not their subclasses, which may compute something else: timm's have an activation in them.
_BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, NaiveSyncBatchNorm, FrozenBatchNorm2d)
_IN_ORDER = (nn.Sequential.forward, ShortcutTower.forward)


class DenseNetwork(nn.Module):
    """Backbone, pyramid and head of FCOS or RetinaNet, with folded norms: image to predictions.

    Args:
        detector: is copied, not changed.

    Raises:
        ValueError: it is no FCOS or RetinaNet.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        check_dense(detector)
        self.backbone = folded(detector.backbone)
        self.names = list(detector.head_in_features)
        self.heads = nn.ModuleList(
            folded(detector.head, level, _num_features=1) for level in range(len(self.names))
        )
        self.eval()

    def forward(self, image: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N _ h w"], ...]:
        """Predictions of all levels, kind by kind: class logits, boxes, of FCOS centre-ness."""
        maps = self.backbone(image)
        found = [head([maps[name]]) for head, name in zip(self.heads, self.names, strict=True)]
        return tuple(level[0] for kind in zip(*found, strict=True) for level in kind)


def check_dense(detector: nn.Module) -> None:
    """Raise if a detector has no head on all levels of a pyramid.

    Raises:
        ValueError: it is no FCOS or RetinaNet.
    """
    if not isinstance(detector, DenseDetector):
        raise ValueError(
            f"int8: {type(detector).__name__} is not supported, FCOS and RetinaNet are"
        )


def folded(module: nn.Module, level: int = 0, **attributes: Any) -> nn.Module:
    """A copy in evaluation mode whose batch norms are part of the convolutions before them.

    Norms that cannot be folded, such as those of a convolution that is used elsewhere, too, stay.

    Args:
        module: has norms in Detectron2's ``Conv2d`` wrappers, or after convolutions of a sequence.
        level: of norms that have statistics for each level, those of this one.
        attributes: set on the copy.
    """
    module = copy.deepcopy(module).eval()
    for name, value in attributes.items():
        setattr(module, name, value)
    parts = list(module.modules())
    for part in parts:
        if isinstance(part, CycleBatchNormList):
            part[0], part._pos = part[level], 0
            del part[1:]
    uses = Counter(child for part in parts for child in part._modules.values())
    for part in parts:
        if type(part) is Conv2d and _can_fold(part, part.norm):
            _fold(part, part.norm)
            part.norm = None
        elif isinstance(part, nn.Sequential) and type(part).forward in _IN_ORDER:
            for (_, layer), (name, norm) in pairwise(list(part._modules.items())):
                if uses[layer] == 1 and _ends_linear(layer) and _can_fold(layer, norm):
                    _fold(layer, norm)
                    setattr(part, name, nn.Identity())
    return module


def _ends_linear(layer: nn.Module) -> bool:
    """Whether it is a convolution, with nothing of its own behind it."""
    if type(layer) is Conv2d:
        return layer.norm is None and layer.activation is None
    return type(layer) is nn.Conv2d


def _can_fold(layer: nn.Module, norm: nn.Module | None) -> bool:
    """Whether they are what they seem to be: no hooks, no weights that are computed anew."""
    statistics = norm[0] if isinstance(norm, CycleBatchNormList) else norm
    return (
        type(statistics) in _BATCH_NORMS
        and statistics.running_var is not None
        and not any(x._forward_hooks or x._forward_pre_hooks for x in (layer, norm, statistics))
    )


@torch.no_grad()
def _fold(layer: nn.Conv2d, norm: nn.Module) -> None:
    statistics = norm[0] if isinstance(norm, CycleBatchNormList) else norm
    scale = (statistics.running_var + statistics.eps).rsqrt()
    shift = -statistics.running_mean * scale
    if norm.weight is not None:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    bias = shift if layer.bias is None else shift + layer.bias * scale
    layer.weight = nn.Parameter(layer.weight * scale.view(-1, 1, 1, 1))
    layer.bias = nn.Parameter(bias)
