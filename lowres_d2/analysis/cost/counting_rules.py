"""What operations count: the project's rule, and mmcv's, by which many papers count.

Both give numbers of the size of MACs: one multiply-accumulate counts 1, and in ``mmcv`` a bias
added, an element pooled, upsampled or put through a ReLU counts 1, too, and one normalised 2.
Papers that used mmdetection call these FLOPs; BottomHeavy (Ning et al. 2023, Tables 4, 6, 7) does.

Rules read operations as they run, from their arguments and result, so that functions count like
modules. mmcv itself hooks modules: it misses poolings, ReLUs and interpolations that are function
calls (those of a feature pyramid and of an RPN: less than 0.02 % of a detector).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torchvision  # noqa: F401  (registers its operators)
from torch import Tensor
from torch.utils.flop_counter import conv_flop_count, flop_registry

aten = torch.ops.aten
Formula = Callable[[tuple[Any, ...], Mapping[str, Any], Any], int]


@dataclass(frozen=True)
class CountingRule:
    """How many MACs an operation counts.

    Attributes:
        name: short name, for tables and files.
        quantity: what the sum is called.
        note: one sentence that says what counts.
        formulas: by operator, a function of arguments, keyword arguments and result.
    """

    name: str
    quantity: str
    note: str
    formulas: Mapping[Any, Formula]

    def count(self, operator: Any, args: tuple, kwargs: Mapping[str, Any], result: Any) -> int:
        """What one call counts; 0 for an operator that the rule does not know."""
        formula = self.formulas.get(operator)
        return 0 if formula is None else formula(args, kwargs, result)


def _macs_of(flops: Callable[..., int]) -> Formula:
    """MACs by a formula of ``torch.utils.flop_counter``, which gives FLOPs: two per MAC."""
    return lambda args, kwargs, result: flops(*args, **kwargs, out_val=result) // 2


def _deformable_convolution(image: Tensor, weight: Tensor, *_: Any, out_val: Tensor) -> int:
    """FLOPs of a plain convolution: sampling at offsets is interpolation, which does not count."""
    return conv_flop_count(image.shape, weight.shape, out_val.shape)


MACS = CountingRule(
    "macs",
    "MACs",
    "MACs are the multiply-accumulates of convolutions, linear layers and matrix products; "
    "interpolation, norms, activations, pooling and NMS are not counted.",
    {
        operator: _macs_of(flops)
        for operator, flops in {
            **flop_registry,
            torch.ops.torchvision.deform_conv2d: _deformable_convolution,
        }.items()
    },
)


def _convolution(args: tuple, kwargs: Mapping[str, Any], result: Tensor) -> int:
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    return MACS.count(aten.convolution, args, kwargs, result) + _elements(result, bias is not None)


def _linear_with_bias(args: tuple, kwargs: Mapping[str, Any], result: Tensor) -> int:
    return MACS.count(aten.addmm, args, kwargs, result) + _elements(result)


def _linear(args: tuple, kwargs: Mapping[str, Any], result: Tensor) -> int:
    return MACS.count(aten.mm, args, kwargs, result)


def _elements(tensor: Tensor, times: int = 1) -> int:
    return times * tensor.numel()


def _of_input(times: int) -> Formula:
    return lambda args, kwargs, result: _elements(args[0], times)


def _of_output(args: tuple, kwargs: Mapping[str, Any], result: Tensor) -> int:
    return _elements(result)


_NORMS = (
    *(aten.native_batch_norm, aten.cudnn_batch_norm, aten.miopen_batch_norm),
    *(aten._native_batch_norm_legit_no_training, aten.native_group_norm, aten.native_layer_norm),
)
_RELUS = (
    *(aten.relu, aten.relu_, aten.leaky_relu, aten.leaky_relu_, aten._prelu_kernel),
    *(aten.elu, aten.elu_, aten.hardtanh, aten.hardtanh_),
)
_POOLINGS = (
    *(aten.max_pool2d_with_indices, aten.avg_pool2d),
    *(aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d),
)
_UPSAMPLINGS = (aten.upsample_nearest2d, aten.upsample_bilinear2d, aten.upsample_bicubic2d)

MMCV = CountingRule(
    "mmcv",
    "FLOPs by mmcv",
    "FLOPs by mmcv are MACs of convolutions and linear layers, and an element that is given a bias "
    "or goes into a ReLU or a pooling or comes out of an upsampling counts 1, one normalised 2; "
    "matrix products of attention and deformable convolutions are not counted.",
    {
        aten.convolution: _convolution,
        aten.addmm: _linear_with_bias,
        aten.mm: _linear,
        **dict.fromkeys(_NORMS, _of_input(2)),
        **dict.fromkeys(_RELUS + _POOLINGS, _of_input(1)),
        **dict.fromkeys(_UPSAMPLINGS, _of_output),
    },
)

RULES = {rule.name: rule for rule in (MACS, MMCV)}
