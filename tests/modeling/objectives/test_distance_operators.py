"""Cases of what objectives are made of: distances, choices of cells, weights of points."""

from __future__ import annotations

from fractions import Fraction

import lowres_d2  # noqa: F401
from lowres_d2.modeling.objectives.dense.levels import best_cells, inside
from lowres_d2.modeling.objectives.features.distances import (
    channel_distance,
    correlation_distance,
    euclidean_distance,
    squared_distance,
)
from lowres_d2.modeling.objectives.features.point_weights import foreground_weights
from lowres_d2.modeling.objectives.logit_forms import logit_distance
from lowres_d2.modeling.objectives.query_filter import best_class_probability, mean_of
from lowres_d2.structures import FeatureMap

import torch

from operator_case import OperatorCase

SIZES = ((16, 20), (13, 18))


class FunctionCase(OperatorCase):
    """The first that it covers; variants are keyword arguments."""

    def build(self, **arguments):
        function = self.covers[0]
        return lambda *inputs: function(*inputs, **arguments)


class TestSquaredDistance(FunctionCase):
    """Points of one image or more, with and without weights."""

    covers = (squared_distance,)
    variants = {"plain": dict(weighted=False), "weighted": dict(weighted=True)}
    sizes = [([5],), ([5, 3],)]

    def build(self, weighted=False):
        return super().build()

    def inputs(self, counts):
        points = [(torch.randn(2, count), torch.randn(2, count)) for count in counts]
        weights = [torch.rand(count) for count in counts]
        return (points, weights) if self.arguments.get("weighted") else (points,)

    def shapes(self, counts):
        return ()

    def bad_inputs(self):
        yield ([],), (RuntimeError, ValueError), "non-empty"


class TestEuclideanDistance(TestSquaredDistance):
    covers = (euclidean_distance,)


class TestCorrelationDistance(TestSquaredDistance):
    covers = (correlation_distance,)


class TestChannelDistance(TestSquaredDistance):
    covers = (channel_distance,)
    variants = {"plain": {}}


class TestLogitDistance(FunctionCase):
    covers = (logit_distance,)
    variants = {
        "softmax": dict(form="softmax", temperature=2.0),
        "sigmoid": dict(form="sigmoid", temperature=2.0),
        "focal": dict(form="focal"),
    }
    sizes = [(4,), (0,)]

    def inputs(self, count):
        return torch.randn(count, 3), torch.randn(count, 3)

    def shapes(self, count):
        return (count,)

    def leaves(self, operator, inputs):
        return [inputs[0]]  # the teacher's get none in training

    def bad_inputs(self):
        yield (torch.randn(4, 3), torch.randn(4, 2)), (RuntimeError, ValueError), "size"


class TestBestClassProbability(FunctionCase):
    covers = (best_class_probability,)
    variants = {
        "sigmoid": dict(activation="sigmoid"),
        "softmax": dict(activation="softmax"),
        "background": dict(activation="softmax", background=True),
    }
    sizes = [(2, 4), (3, 0)]

    def inputs(self, *shape):
        return (torch.randn(*shape, 3),)

    def shapes(self, *shape):
        return shape

    def bad_inputs(self):
        yield (torch.randn(2, 0),), IndexError, "non-zero size"


class TestMeanOf(FunctionCase):
    covers = (mean_of,)
    variants = {"plain": dict(weighted=False), "weighted": dict(weighted=True)}
    sizes = [(4,), (0,)]

    def build(self, weighted):
        return mean_of

    def inputs(self, count):
        values = torch.randn(count), torch.rand(count) + 0.5
        return values if self.arguments["weighted"] else values[:1]

    def shapes(self, count):
        return ()

    def bad_inputs(self):
        yield (torch.randn(4), torch.rand(3)), RuntimeError, "must match"


class CellsCase(OperatorCase):
    graph_breaks = "dynamo does not trace the fractions that cells are counted with"
    sizes = [(1,), (2,)]

    def cells(self, maps, stride, factor=1):
        return FeatureMap.of_network(maps, stride, stride / 2, SIZES[: len(maps)], Fraction(factor))


class TestBestCells(CellsCase):
    """3 x 3 cells of the student at stride 8, of the teacher 5 x 6 at stride 4 and 3 x 3 at 8."""

    covers = (best_cells,)

    def build(self):
        def best(student, *confidences):
            teacher = [self.cells(x, s) for x, s in zip(confidences, (4, 8), strict=True)]
            return best_cells(self.cells(student, 4, 2), teacher)

        return best

    def inputs(self, n):
        student = torch.zeros(n, 1, 3, 3)
        return student, torch.rand(n, 2, 5, 6), torch.rand(n, 2, 3, 3)

    def shapes(self, n):
        return (n, 2, 9), (n, 2, 9)

    def leaves(self, operator, inputs):
        return [*inputs[1:]]

    def bad_inputs(self):
        student, fine, coarse = self.inputs(1)
        yield (student, fine[..., :3], coarse), ValueError, "check the stride"


class TestInside(CellsCase):
    covers = (inside,)
    not_differentiable = "a mask"

    def build(self):
        return lambda maps: inside(self.cells(maps, 4))

    def inputs(self, n):
        return (torch.rand(n, 1, 5, 6),)

    def shapes(self, n):
        return (n, 5, 6)

    def bad_inputs(self):
        yield (torch.rand(1, 1, 3, 6),), ValueError, "check the stride"


class TestForegroundWeights(CellsCase):
    covers = (foreground_weights,)
    not_differentiable = "cells are in a box or not"

    def build(self):
        return lambda boxes, maps: foreground_weights(boxes, self.cells(maps, 4), 0.5)

    def inputs(self, n):
        boxes = torch.tensor([[1.0, 2.0, 9.0, 8.0], [3.0, 3.0, 4.0, 4.0]])
        return [boxes.clone() for _ in range(n)], torch.zeros(n, 1, 5, 6)

    def shapes(self, n):
        return [(4 * 5,), (3 * 4,)][:n]

    def bad_inputs(self):
        boxes, maps = self.inputs(1)
        yield (boxes, maps[..., :3]), ValueError, "check the stride"
