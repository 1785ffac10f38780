"""Cases of the layers: deformable attention and its two ways of sampling, norms."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import lowres_d2  # noqa: F401
from lowres_d2.layers.deformable_attention import (
    MultiScaleDeformableAttention,
    multi_scale_deformable_attention,
)
from lowres_d2.layers.deformable_sampling import sample_bags, sample_grids
from lowres_d2.layers.norm import group_norm_8
from lowres_d2.layers.norm_by_factor import NormByFactor, norms_by_factor
from lowres_d2.layers.weighted_bags import weighted_bags

import torch
from torch import nn

from operator_case import OperatorCase

LEVELS = [(3, 4), (2, 2)]
CELLS = sum(h * w for h, w in LEVELS)


class TestSampling(OperatorCase):
    covers = (multi_scale_deformable_attention, sample_grids, sample_bags)
    variants = {way.__name__: dict(way=way) for way in covers}
    sizes = [(1, 2), (2, 3)]
    dtypes = {torch.float32: torch.float32, torch.float64: torch.float64}

    def build(self, way):
        return way

    def inputs(self, n, q):
        heads, points = 2, 2
        value = torch.randn(n, CELLS, heads, 3)
        locations = torch.rand(n, q, heads, len(LEVELS), points, 2) * 1.4 - 0.2
        return value, locations, torch.rand(n, q, heads, len(LEVELS), points)

    def call(self, operator, value, locations, weights):
        return operator(value, LEVELS, locations, weights)

    def shapes(self, n, q):
        return (n, q, 2 * 3)

    def bad_inputs(self):
        value, locations, weights = self.inputs(1, 2)
        yield (value[:, 1:], locations, weights), RuntimeError, "split"


class TestWeightedBags(OperatorCase):
    covers = (weighted_bags,)
    variants = {"": {}}
    sizes = [(1, 1), (5, 3)]

    def build(self):
        return weighted_bags

    def inputs(self, bags, size):
        return torch.randn(4, 6), torch.randint(4, (bags, size)), torch.randn(bags, size)

    def shapes(self, bags, size):
        return (bags, 6)

    def bad_inputs(self):
        rows, bags, weights = self.inputs(2, 2)
        yield (rows, bags, weights[:1]), ValueError, "same shape"


class TestDeformableAttention(OperatorCase):
    covers = (MultiScaleDeformableAttention,)
    variants = {
        "points": dict(numbers=2),
        "boxes": dict(numbers=4),
        "padded": dict(numbers=2, padded=True),
    }
    sizes = [(1, 2), (2, 3)]
    bad_arguments = [(dict(channels=6, num_heads=4), "expected a multiple of num_heads=4")]

    def build(self, channels=4, num_heads=2, **_):
        layer = MultiScaleDeformableAttention(channels, num_heads, len(LEVELS), num_points=2)
        nn.init.normal_(layer.sampling_offsets.weight, std=0.1)
        nn.init.normal_(layer.attention_weights.weight)
        return layer

    def inputs(self, n, q):
        reference = torch.rand(n, q, 1, self.arguments["numbers"]) * 0.6 + 0.2
        return torch.randn(n, q, 4), reference, torch.randn(n, CELLS, 4)

    def call(self, operator, query, reference, memory, levels=LEVELS):
        padding = None
        if self.arguments.get("padded"):
            padding = (torch.arange(memory.shape[1]) % 4 == 3).expand(len(query), -1)
        return operator(query, reference, memory, levels, padding)

    def shapes(self, n, q):
        return (n, q, 4)

    def bad_inputs(self):
        query, reference, memory = self.inputs(1, 2)
        three = (query, reference, memory, [*LEVELS, (1, 1)])
        yield three, ValueError, "spatial_shapes has 3 levels, expected 2"
        yield (query, reference, memory[:, 1:]), RuntimeError, "split"
        yield (query[..., 1:], reference, memory), RuntimeError, "shapes cannot be multiplied"


class TestGroupNorm8(OperatorCase):
    covers = (group_norm_8,)
    sizes = [(2, 3), (1, 1)]
    bad_arguments = [(dict(channels=12), "divisible")]

    def build(self, channels=16):
        return group_norm_8(channels)

    def inputs(self, n, side):
        return (torch.randn(n, 16, side, side),)

    def shapes(self, n, side):
        return (n, 16, side, side)


class TestNormByFactor(OperatorCase):
    covers = (NormByFactor, norms_by_factor)
    variants = {
        "batch": dict(norm=partial(nn.BatchNorm2d, 4)),
        "group": dict(norm=partial(nn.GroupNorm, 2, 4)),
    }
    sizes = [(2, 3), (3, 2)]

    def build(self, norm):
        network = nn.Sequential(nn.Conv2d(3, 4, 1), norm())
        (by_factor,) = norms_by_factor(network, [Fraction(1), Fraction(3, 2)])
        by_factor.factor = Fraction(3, 2)
        return network

    def inputs(self, n, side):
        return (torch.randn(n, 3, side, side),)

    def shapes(self, n, side):
        return (n, 4, side, side)

    def leaves(self, operator, inputs):
        used = operator[1].by_factor["3/2"]  # the other one gets nothing
        return [*inputs, *operator[0].parameters(), *used.parameters()]

    def bad_inputs(self):
        yield (torch.randn(2, 5, 3, 3),), RuntimeError, "channels"
