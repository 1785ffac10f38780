"""Rules that turn each layer into its form in the atrous twin of a backbone: one rule per class.

Source: Noh et al., "Better to Follow, Follow to Be Better" (ICCV 2019), Sec. 4.1. A layer whose
kernel covers a single cell stays as it is. Other convolutions are dilated by ``ratio``, which is 2
in the paper, and the windows of poolings are widened by it. A dilated convolution with stride 2 is
applied with stride 1 and followed by a 2x2 max pooling of stride 2, for any ratio.
What a ``forward`` does between its layers is known for known classes only. Therefore classes are
registered, and a subclass has the rule of its base class if it does not override ``forward``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from lowres_d2.modeling.backbone.moved_blocks import BottomHeavyStem
from lowres_d2.modeling.backbone.small import DeepStem, SmallStem

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d, NaiveSyncBatchNorm
from detectron2.layers.batch_norm import LayerNorm
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool, LastLevelP6P7
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, BottleneckBlock, ResNet
from jaxtyping import Float
from torch import Tensor, fx, nn
from torchvision.models import mobilenetv2, mobilenetv3
from torchvision.ops import misc

Rule = Callable[[nn.Module, int], None]

_RULES: dict[type[nn.Module], Rule] = {}


def add_atrous_rule(kind: type[nn.Module], rule: Rule | None = None) -> None:
    """Register a class of modules for atrous twins.

    Args:
        kind: the class.
        rule: called with a module of the class and the twin's ratio; turns the module, in place,
            into its form in the twin, whose receptive field is ``ratio`` times as large.
            Submodules have their own rules. It raises ``ValueError`` with a reason if it cannot.
            None: ``forward`` only calls submodules and cellwise operations.
    """
    _RULES[kind] = rule or _keep


def make_atrous(module: nn.Module, path: str, ratio: int) -> None:
    """Turn one module, without its submodules, into its form in the twin.

    Args:
        module: module of the twin; shares only its parameters and buffers with the backbone's.
        path: name of the module in the backbone, for messages.
        ratio: ratio of the twin's receptive field to the backbone's.

    Raises:
        ValueError: its class has no rule, or the rule cannot be applied.
    """
    name = f"{path or 'the backbone'} ({type(module).__name__})"
    rule = _rule_of(module)
    if rule is None:
        raise ValueError(
            f"{name} has no rule for atrous twins: register one for its class with "
            "lowres_d2.modeling.backbone.add_atrous_rule"
        )
    try:
        rule(module, ratio)
    except ValueError as error:
        raise ValueError(f"{name} cannot be part of an atrous twin: {error}") from error


def _rule_of(module: nn.Module) -> Rule | None:
    if isinstance(module, fx.GraphModule):  # its forward is generated from its graph
        return _check_graph
    for kind in type(module).__mro__:
        if kind in _RULES and type(module).forward is kind.forward:
            return _RULES[kind]
    return None


def _keep(module: nn.Module, ratio: int) -> None:
    """Leave a module as it is."""


def _widen_convolution(conv: nn.Conv2d, ratio: int) -> None:
    # Sec. 4.1: only layers with filters over 1. With stride 2, too, such a layer skips the same
    # cells as the backbone's.
    if max(conv.kernel_size) == 1:
        return
    if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        raise ValueError(
            f"padding={conv.padding!r}, padding_mode={conv.padding_mode!r}: expected padding in "
            "numbers and padding_mode='zeros'"
        )
    reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    # With any other padding, dilation would change the size of the output.
    if [2 * p for p in conv.padding] != reach:
        raise ValueError(
            f"kernel_size={conv.kernel_size}, padding={conv.padding}: expected an odd kernel, and "
            "half of it as padding"
        )
    if not set(conv.stride) <= {1, 2}:
        raise ValueError(f"stride={conv.stride}: expected 1 or 2")
    conv.padding = tuple(ratio * p for p in conv.padding)
    conv.dilation = tuple(ratio * d for d in conv.dilation)
    # Fig. 4: an atrous convolution with a stride skips every other cell (b); with stride 1 and a
    # pooling after it none is lost (c). The pooling only replaces the stride: 2x2 at any ratio.
    if max(conv.stride) > 1:
        # Rounds up, as strided convolutions do, so that odd sizes match a strided shortcut's.
        pool = nn.MaxPool2d(conv.stride, ceil_mode=True)
        conv.stride = (1, 1)
        _call_after(conv, pool)


def _call_after(conv: nn.Conv2d, pool: nn.Module) -> None:
    """Pool the output of a convolution, before its norm."""
    if isinstance(conv, Conv2d):  # Detectron2's, which calls its norm itself
        conv.norm = pool if conv.norm is None else nn.Sequential(pool, conv.norm)
    else:
        # A hook, because the norm belongs to the parent, which stays as it is.
        conv.stride_pool = pool
        conv.register_forward_hook(lambda _conv, _inputs, output: pool(output))


def _widen_pooling(pool: nn.MaxPool2d, ratio: int) -> None:
    kernel, padding, dilation = (
        _single(pool, key) for key in ("kernel_size", "padding", "dilation")
    )
    if dilation != 1:
        raise ValueError(f"dilation={dilation}: expected 1")
    # Kernel and padding keep the output's size and each window's centre. The outermost cells of an
    # odd kernel are ``ratio`` times as far from its centre.
    wide = ratio * kernel - kernel % 2 * (ratio - 1)
    pool.kernel_size = wide
    pool.padding = padding + (wide - kernel) // 2


def _single(module: nn.Module, key: str) -> int:
    value = getattr(module, key)
    values = set(value) if isinstance(value, tuple) else {value}
    if len(values) > 1:
        raise ValueError(f"{key}={value}: expected the same in both directions")
    return values.pop()


def _check_global(pool: nn.AdaptiveAvgPool2d, ratio: int) -> None:
    """Global pooling, as in squeeze-and-excitation, already covers the whole feature map."""
    if pool.output_size not in (1, (1, 1)):
        raise ValueError(f"output_size={pool.output_size}: expected 1")


class _WideStem(BasicStem):
    """Detectron2's stem, whose 3x3 max pooling is a function call in ``forward``, not a module."""

    def forward(self, x: Float[Tensor, "N _C H W"]) -> Float[Tensor, "N C h w"]:
        # Sec. 4.1: poolings get larger filters; with ratio 2 this is 5x5 in place of 3x3.
        reach = self.atrous_ratio
        return F.max_pool2d(F.relu_(self.conv1(x)), 2 * reach + 1, stride=2, padding=reach)


def _widen_stem(stem: nn.Module, ratio: int) -> None:
    # In place, as every rule: the parent refers to this very object.
    stem.__class__ = _WideStem
    stem.atrous_ratio = ratio


# Cellwise calls in a traced network.
_CELLWISE_CALLS = {
    *(operator.add, operator.iadd, operator.mul, operator.imul, operator.getitem),
    *(torch.add, torch.mul, torch.cat, torch.relu, torch.relu_, torch.sigmoid),
    *(F.relu, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.silu, F.gelu),
}
_CELLWISE_METHODS = {"add", "add_", "mul", "mul_", "relu", "relu_", "sigmoid"}


def _check_graph(module: fx.GraphModule, ratio: int) -> None:
    # Nodes that call submodules (call_module) are left to the rules of these.
    for node in module.graph.nodes:
        known = {"call_function": _CELLWISE_CALLS, "call_method": _CELLWISE_METHODS}.get(node.op)
        if known is not None and node.target not in known:
            call = getattr(node.target, "__name__", node.target)
            raise ValueError(f"its call of {call} ({node.name}) is not known to be cellwise")


_NORMS = (
    *(nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.InstanceNorm2d, NaiveSyncBatchNorm),
    *(FrozenBatchNorm2d, LayerNorm, misc.FrozenBatchNorm2d),
)
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardtanh),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Dropout, nn.Dropout2d, nn.Identity),
)
_BLOCKS = (
    # nn.Module is for containers without a forward of their own, such as ModuleList.
    *(nn.Module, nn.Sequential, BasicBlock, BottleneckBlock, ResNet),
    *(SmallStem, DeepStem, BottomHeavyStem),
    *(FPN, LastLevelMaxPool, LastLevelP6P7),
    *(mobilenetv2.InvertedResidual, mobilenetv3.InvertedResidual, misc.SqueezeExcitation),
)
for _kind in (*_NORMS, *_ACTIVATIONS, *_BLOCKS):
    add_atrous_rule(_kind)
for _kind in (nn.Conv2d, Conv2d):
    add_atrous_rule(_kind, _widen_convolution)
add_atrous_rule(nn.MaxPool2d, _widen_pooling)
add_atrous_rule(nn.AdaptiveAvgPool2d, _check_global)
add_atrous_rule(BasicStem, _widen_stem)
