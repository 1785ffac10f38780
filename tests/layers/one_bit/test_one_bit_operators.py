"""Cases of the 1-bit layers. Their gradients are no derivatives: test_one_bit_gradients.py."""

from __future__ import annotations

import lowres_d2  # noqa: F401
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedSign, Sign, sign

import torch
from torch import nn

from operator_case import OperatorCase

QUANTIZERS = {
    "clip": dict(gradient="clip"),
    "polynomial": dict(gradient="polynomial"),
}
LAYERS = {
    "mean": dict(scale="mean"),
    "learned": dict(scale="learned"),
    "shifted": dict(shifted=True),
}
FLOATS = {torch.float32: torch.float32, torch.bfloat16: torch.bfloat16}


class StraightThroughCase(OperatorCase):
    def test_gradcheck(self, variant):
        operator, inputs = self._prepared(variant)
        self._requiring_gradients(operator, inputs)
        self.call(operator, *inputs).sum().backward()
        assert all(x.grad.any() for x in self.leaves(operator, inputs))


class TestSign(StraightThroughCase):
    covers = (sign,)
    variants = QUANTIZERS
    sizes = [(3,), (2, 0), (2, 4, 5, 5)]
    dtypes = FLOATS
    bad_arguments = [(dict(gradient="tanh"), "gradient='tanh': expected one of clip, polynomial")]

    def build(self, gradient):
        sign(torch.zeros(1), gradient)
        return lambda x: sign(x, gradient)

    def inputs(self, *size):
        return (torch.rand(size) - 0.5,)

    def shapes(self, *size):
        return size

    def leaves(self, operator, inputs):
        return list(inputs)


class TestSignModules(StraightThroughCase):
    covers = (Sign, ShiftedSign)
    variants = {
        f"{kind} {name}": dict(kind=kind, **arguments)
        for kind in ("Sign", "ShiftedSign")
        for name, arguments in QUANTIZERS.items()
    }
    sizes = [(2, 4, 5, 5)]
    bad_arguments = [(dict(kind="Sign", gradient="tanh"), "gradient='tanh'")]

    def build(self, kind, gradient):
        return Sign(gradient) if kind == "Sign" else ShiftedSign(4, gradient)

    def inputs(self, *size):
        return (torch.rand(size) - 0.5,)

    def shapes(self, *size):
        return size


class TestBinaryConv2d(StraightThroughCase):
    covers = (BinaryConv2d,)
    variants = LAYERS
    sizes = [(2, 5, 7), (0, 5, 5)]
    bad_arguments = [(dict(scale="max"), "scale='max': expected one of mean, learned")]

    def build(self, shifted=False, **arguments):
        quantizer = ShiftedSign(4) if shifted else None
        return BinaryConv2d(4, 6, 3, padding=1, input_quantizer=quantizer, **arguments)

    def inputs(self, n, h, w):
        return (torch.rand(n, 4, h, w) - 0.5,)

    def shapes(self, n, h, w):
        return (n, 6, h, w)

    def bad_inputs(self):
        words = "must match" if self.arguments.get("shifted") else "to have 4 channels"
        yield (torch.rand(1, 3, 5, 5),), RuntimeError, words


class TestBinaryLinear(StraightThroughCase):
    covers = (BinaryLinear,)
    variants = LAYERS
    sizes = [(2,), (0,), (2, 3)]
    bad_arguments = [(dict(scale="max"), "scale='max'")]

    def build(self, shifted=False, **arguments):
        quantizer = ShiftedSign(4, axis=-1) if shifted else None
        return BinaryLinear(4, 6, input_quantizer=quantizer, **arguments)

    def inputs(self, *size):
        return (torch.rand(*size, 4) - 0.5,)

    def shapes(self, *size):
        return (*size, 6)

    def bad_inputs(self):
        words = "must match" if self.arguments.get("shifted") else "cannot be multiplied"
        yield (torch.rand(1, 3),), RuntimeError, words


def test_layers_are_those_that_other_code_looks_for():
    assert isinstance(BinaryConv2d(1, 1, 1), nn.Conv2d)
    assert isinstance(BinaryLinear(1, 1), nn.Linear)
