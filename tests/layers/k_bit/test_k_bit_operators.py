"""Cases of the layers of k bits. Their gradients are no derivatives: test_k_bit_layers.py."""

from __future__ import annotations

import lowres_d2  # noqa: F401
from lowres_d2.layers.k_bit import KBitConv2d, KBitLinear, LearnedStep, quantized
from lowres_d2.layers.one_bit import ShiftedPReLU

import torch

from operator_case import OperatorCase


class SteppedCase(OperatorCase):
    dtypes = {torch.float32: torch.float32, torch.bfloat16: torch.bfloat16}
    graph_breaks = "the step starts from the first values"

    def test_gradcheck(self, variant):
        operator, inputs = self._prepared(variant)
        self._requiring_gradients(operator, inputs)
        self.call(operator, *inputs).square().sum().backward()
        assert all(x.grad.any() for x in self.leaves(operator, inputs))


class TestQuantized(SteppedCase):
    covers = (quantized,)
    variants = {"signed": dict(lowest=-4, highest=3), "unsigned": dict(lowest=0, highest=7)}
    sizes = [(3,), (2, 4, 5, 5), (0,)]
    graph_breaks = ""
    takes_everything = "a step is LearnedStep's, which keeps it positive"

    def build(self, lowest, highest):
        return lambda x, step: quantized(x, step, lowest, highest)

    def inputs(self, *size):
        return torch.randn(size), torch.tensor(0.3)

    def shapes(self, *size):
        return size


class TestLearnedStep(SteppedCase):
    covers = (LearnedStep,)
    variants = {"told": dict(signed=True), "found": {}, "all": dict(per_image=False)}
    sizes = [(2, 4, 5, 5), (0, 3)]
    bad_arguments = [(dict(bits=1), "bits=1: expected 2 or more; 1 is a sign")]

    def build(self, bits=3, **arguments):
        return LearnedStep(bits, **arguments)

    def inputs(self, *size):
        return (torch.randn(size),)

    def shapes(self, *size):
        return size


class TestKBitConv2d(SteppedCase):
    covers = (KBitConv2d,)
    variants = {"4 bits": dict(bits=4), "2 bits": dict(bits=2)}
    sizes = [(2, 5, 7), (0, 5, 5)]
    dtypes = {torch.float32: torch.float32}
    bad_arguments = [(dict(bits=0), "bits=0")]

    def build(self, bits):
        return KBitConv2d(4, 6, 3, padding=1, bits=bits)

    def inputs(self, n, h, w):
        return (torch.randn(n, 4, h, w),)

    def shapes(self, n, h, w):
        return (n, 6, h, w)


class TestKBitLinear(SteppedCase):
    covers = (KBitLinear,)
    variants = {"4 bits": dict(bits=4), "2 bits": dict(bits=2)}
    sizes = [(2,), (0,), (2, 3)]
    dtypes = {torch.float32: torch.float32}
    bad_arguments = [(dict(bits=0), "bits=0")]

    def build(self, bits):
        return KBitLinear(4, 6, bits=bits)

    def inputs(self, *size):
        return (torch.randn(*size, 4),)

    def shapes(self, *size):
        return (*size, 6)


class TestShiftedPReLU(OperatorCase):
    covers = (ShiftedPReLU,)
    sizes = [(2, 5, 5), (2,), (0, 3)]
    dtypes = {torch.float32: torch.float32, torch.bfloat16: torch.bfloat16}

    def build(self):
        made = ShiftedPReLU(4)
        torch.nn.init.normal_(made.shift_in)
        return made

    def inputs(self, n, *size):
        return (torch.randn(n, 4, *size),)

    def shapes(self, n, *size):
        return (n, 4, *size)

    def bad_inputs(self):
        yield (torch.randn(2, 3, 5, 5),), RuntimeError, "must match"
