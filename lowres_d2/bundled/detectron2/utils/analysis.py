"""Counts of parameters, FLOPs and activations of models that take Detectron2's inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import fvcore.nn
from detectron2.structures import Boxes, Instances
from fvcore.nn import parameter_count, parameter_count_table
from torch import Tensor, nn

__all__ = [
    "FlopCountAnalysis",
    "activation_count_operators",
    "find_unused_parameters",
    "flop_count_operators",
    "parameter_count",
    "parameter_count_table",
]


class _TensorModel(nn.Module):
    """A model as a function of the images, with nothing but tensors as output, for tracing."""

    def __init__(self, model: nn.Module, inputs: Any):
        super().__init__()
        self.model = model
        self._inputs = inputs

    def images(self) -> tuple[Tensor, ...]:
        """The tensors among the inputs that the trace depends on."""
        if isinstance(self._inputs, Tensor):
            return (self._inputs,)
        return tuple(x["image"] if isinstance(x, dict) else x for x in self._inputs)

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        if isinstance(self._inputs, tuple):
            outputs = self.model(*images)
        elif isinstance(self._inputs, Tensor):
            outputs = self.model(images[0])
        else:
            pairs = zip(self._inputs, images, strict=True)
            outputs = self.model([{**given, "image": image} for given, image in pairs])
        return tuple(_tensors_in(outputs))


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Boxes):
        yield value.tensor
    elif isinstance(value, Instances):
        yield from _tensors_in(value.get_fields())
    elif isinstance(value, dict):
        yield from _tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _tensors_in(element)


class FlopCountAnalysis(fvcore.nn.FlopCountAnalysis):
    """fvcore's analysis, for a model in evaluation mode and `list[dict]` inputs.

    One multiplication with its addition counts as one.
    """

    def __init__(self, model: nn.Module, inputs: Any):
        """Trace nothing yet.

        Args:
            model: model; in the report its modules are below "model".
            inputs: a list of dicts with "image" (C, H, W), a tensor, or a tuple of tensors.
        """
        wrapper = _TensorModel(model, inputs)
        super().__init__(wrapper, wrapper.images())
        # Elementwise and bookkeeping operators are not counted; `unsupported_ops()` lists them.
        self.unsupported_ops_warnings(False)


def flop_count_operators(model: nn.Module, inputs: list[dict[str, Any]]) -> defaultdict[str, float]:
    """10^9 FLOPs of one image by kind of operator, in evaluation mode.

    Args:
        model: detector.
        inputs: one dict with "image" (C, H, W). A random image has few proposals, so the share of
            a region head needs a real one.
    """
    return _count_by_operator(fvcore.nn.FlopCountAnalysis, model, inputs, unit=1e9)


def activation_count_operators(
    model: nn.Module, inputs: list[dict[str, Any]], **kwargs: Any
) -> defaultdict[str, float]:
    """10^6 output elements of one image by kind of operator, in evaluation mode.

    Args:
        model: detector.
        inputs: one dict with "image" (C, H, W).
        **kwargs: `supported_ops`, handles as fvcore's analysis takes them.
    """
    analysis = fvcore.nn.ActivationCountAnalysis
    return _count_by_operator(analysis, model, inputs, unit=1e6, **kwargs)


def _count_by_operator(
    analysis: Any,
    model: nn.Module,
    inputs: list[dict[str, Any]],
    unit: float,
    supported_ops: dict[str, Any] | None = None,
) -> defaultdict[str, float]:
    if len(inputs) != 1:
        raise ValueError(f"counting operators takes one image, got {len(inputs)}")
    wrapper = _TensorModel(model, inputs)
    was_training = model.training
    wrapper.eval()
    try:
        counter = analysis(wrapper, wrapper.images()).set_op_handle(**(supported_ops or {}))
        counts = counter.unsupported_ops_warnings(False).by_operator()
    finally:
        model.train(was_training)
    return defaultdict(float, {name: count / unit for name, count in counts.items()})


def find_unused_parameters(model: nn.Module, inputs: Any) -> list[str]:
    """Names of the parameters that no loss depends on.

    Args:
        model: model in training mode; gives a loss or a dict of losses.
        inputs: its input, or a tuple of inputs.
    """
    assert model.training, "find_unused_parameters: the model must be in training mode"
    for parameter in model.parameters():
        parameter.grad = None
    losses = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    sum(_tensors_in(losses)).backward()
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    for parameter in model.parameters():
        parameter.grad = None
    return unused
