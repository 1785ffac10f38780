"""The base class of operators' tests finds the faults that it is for."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from operator_case import OperatorCase


class Scale(nn.Module):
    def __init__(self, after=None):
        super().__init__()
        self.factor = nn.Parameter(torch.rand(3) + 0.5)
        self.after = after or (lambda y: y)

    def forward(self, x):
        return self.after(x * self.factor)


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3


class ScaleCase(OperatorCase):
    """Not collected; the tests below call its tests."""

    sizes = [(2,), (1,)]

    def build(self):
        return Scale()

    def inputs(self, n):
        return (torch.rand(n, 3),)

    def shapes(self, n):
        return (n, 3)

    def bad_inputs(self):
        yield (torch.rand(2, 2),), RuntimeError, "must match"


def run(case, name):
    more = {"smoke": [torch.float32], "shape": [(2,)]}.get(name, [])
    getattr(case, f"test_{name}")("default", *more)


TESTS = ["smoke", "shape", "bad_input", "gradcheck", "compile"]
# What comes after the scale, which test finds it, and what it says.
FAULTS = {
    "infinite": (lambda y: y / 0, "smoke", "not finite"),
    "another dtype": (lambda y: y.double(), "smoke", "float64"),
    "another shape": (lambda y: y[:1], "shape", "shapes are (1, 3), not (2, 3)"),
    "wrong gradient": (Wrong.apply, "gradcheck", "mismatch"),
    "no gradient": (lambda y: y.detach() + y[0, 0], "gradcheck", "mismatch"),
    "dead": (lambda y: (y * 0).relu(), "gradcheck", "no gradient reaches leaves [0, 1]"),
    "graph break": (lambda y: torch._dynamo.graph_break() or y, "compile", "graph_break"),
    "compiled": (lambda y: y + torch.compiler.is_compiling(), "compile", "not close"),
}


@pytest.mark.parametrize("name", TESTS)
def test_a_good_operator_passes(name):
    run(ScaleCase(), name)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    after, name, words = FAULTS[fault]
    case = ScaleCase()
    case.build = lambda: Scale(after)
    with pytest.raises(Exception, match=re.escape(words)):
        run(case, name)


def test_input_that_is_taken_is_no_bad_input():
    case = ScaleCase()
    case.bad_inputs = lambda: [(case.inputs(2), RuntimeError, "must match")]
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        run(case, "bad_input")


def test_a_case_without_bad_input_gives_the_reason():
    case = ScaleCase()
    case.bad_inputs = lambda: ()
    with pytest.raises(AssertionError, match="neither bad inputs nor takes_everything"):
        run(case, "bad_input")
    case.takes_everything = "a scale fits any input"
    run(case, "bad_input")


def test_what_refuses_input_does_not_take_everything():
    case = ScaleCase()
    case.takes_everything = "a lie"
    with pytest.raises(AssertionError, match="takes_everything, and refuses"):
        run(case, "bad_input")


def test_what_has_gradients_cannot_be_called_not_differentiable():
    case = ScaleCase()
    case.not_differentiable = "a lie"
    with pytest.raises(AssertionError, match="outputs have a gradient"):
        run(case, "gradcheck")
