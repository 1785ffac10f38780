"""Cases of feature super-resolution: generator, discriminator, their losses, and both on boxes."""

from __future__ import annotations

from lowres_d2.modeling.roi_heads import SRDiscriminator, SRGenerator, SuperResolution
from lowres_d2.modeling.roi_heads.alignment import pool_exactly
from lowres_d2.modeling.super_resolution.adversarial import adversarial_loss, discriminator_loss

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes

from operator_case import OperatorCase
from toys.detectors import CHANNELS, LEVELS, STRIDES
from toys.super_resolution import awaken, super_resolution

SIDE = 64  # of an image in pixels
# Ratio 4, ratio 2, and not small where that is below 24 x 24.
BOXES = [[2.0, 3.0, 7.0, 8.0], [20.0, 12.0, 38.0, 29.0], [5.0, 9.0, 55.0, 60.0]]


def boxes_of(n, count):
    return [Boxes(torch.tensor(BOXES[:count])) for _ in range(n)]


class TestSRGenerator(OperatorCase):
    covers = (SRGenerator,)
    variants = {"wide": {}, "narrow": dict(bottleneck_channels=2)}
    sizes = [(2, 4), (0, 3)]
    bad_arguments = [
        (dict(num_blocks=0), "num_blocks=0"),
        (dict(bottleneck_channels=0), "bottleneck_channels=0"),
    ]

    def build(self, num_blocks=2, bottleneck_channels=None):
        generator = SRGenerator(3, 2, num_blocks, bottleneck_channels)
        awaken(generator)
        return generator

    def inputs(self, r, side):
        return torch.randn(r, 3, side, side), torch.randn(r, 2, side, side)

    def shapes(self, r, side):
        return (r, 3, side, side)

    def bad_inputs(self):
        base, sub = self.inputs(2, 4)
        yield (base, sub[:1]), RuntimeError, "Sizes of tensors must match"
        yield (base, base), RuntimeError, "channels"
        # Together they have as many channels as the blocks.
        swapped = torch.zeros(2, 2, 4, 4), torch.zeros(2, 3, 4, 4)
        yield swapped, ValueError, "base features have 2 channels, expected 3"


class TestSRDiscriminator(OperatorCase):
    covers = (SRDiscriminator,)
    variants = {"average": dict(grid=1), "parts": dict(grid=2)}
    sizes = [(3, 4), (0, 5)]
    dtypes = {torch.float32: torch.float32, torch.bfloat16: torch.float32}
    bad_arguments = [(dict(grid=0), "grid=0: expected 1 or more")]

    def build(self, grid):
        return SRDiscriminator(3, hidden=4, grid=grid)

    def inputs(self, r, side):
        return (torch.randn(r, 3, side, side),)

    def shapes(self, r, side):
        return (r,)

    def bad_inputs(self):
        yield (torch.randn(3, 2, 4, 4),), RuntimeError, "shapes cannot be multiplied"


class TestDiscriminatorLoss(OperatorCase):
    covers = (discriminator_loss,)
    sizes = [(3,), (0,)]

    def build(self):
        self.discriminator = SRDiscriminator(3, hidden=4)
        return discriminator_loss

    def inputs(self, r):
        return torch.randn(r, 3, 4, 4), torch.randn(r, 3, 4, 4)

    def call(self, operator, *regions):
        return operator(self.discriminator, *regions)

    def shapes(self, r):
        return ()

    def leaves(self, operator, inputs):
        return [*self.discriminator.parameters()]

    def bad_inputs(self):
        targets, generated = self.inputs(3)
        # A single target would be broadcast to all regions.
        for wrong in (generated[:2], generated[:1], generated[:, :2], generated[..., :1]):
            yield (targets, wrong), ValueError, "expected the same regions"


class TestAdversarialLoss(TestDiscriminatorLoss):
    covers = (adversarial_loss,)

    def build(self):
        self.discriminator = SRDiscriminator(3, hidden=4)
        return adversarial_loss

    def inputs(self, r):
        return (torch.randn(r, 3, 4, 4),)

    def leaves(self, operator, inputs):
        return [*inputs]

    def bad_inputs(self):
        yield (torch.randn(3, 2, 4, 4),), RuntimeError, "shapes cannot be multiplied"


class TestSuperResolution(OperatorCase):
    covers = (SuperResolution,)
    variants = {"one ratio": dict(ratios=(2,)), "each its own": dict(ratios=(2, 4))}
    sizes = [(1, 2), (2, 1)]
    bad_arguments = [(dict(ratios=(2, 2)), "ratios=[2, 2]"), (dict(max_pairs=0), "max_pairs=0")]
    graph_breaks = "boxes are sorted by their sizes"

    def build(self, **arguments):
        module = super_resolution("faster_rcnn_fpn", **arguments)
        awaken(module)
        return module

    def inputs(self, n, count):
        side = SIDE // STRIDES[0]
        return torch.randn(n * count, CHANNELS, 4, 4), torch.randn(n, CHANNELS, side, side)

    def call(self, operator, base, features):
        n = len(features)
        return operator(base, {LEVELS[0]: features}, boxes_of(n, len(base) // n))

    def shapes(self, n, count):
        return (n * count, CHANNELS, 4, 4)

    def leaves(self, operator, inputs):
        return [*inputs, *operator.generators.parameters()]  # supervision is no part of forward

    def bad_inputs(self):
        base, features = self.inputs(1, 2)
        yield (base[:, 1:], features), ValueError, f"expected {CHANNELS}"
        yield (base, features[:, 1:]), RuntimeError, "channels"


def pooler_of(levels):
    scales = [1 / stride for stride in STRIDES[:levels]]
    return ROIPooler(3, scales, sampling_ratio=2, pooler_type="ROIAlignV2", canonical_box_size=32)


class TestPoolExactly(OperatorCase):
    covers = (pool_exactly,)
    variants = {"one feature map": dict(levels=1), "a pyramid": dict(levels=2)}
    sizes = [(1, 2), (2, 3)]
    graph_breaks = "the poolers count boxes"

    def build(self, levels):
        return pooler_of(levels)

    def inputs(self, n, count):
        levels = self.arguments["levels"]
        return [torch.randn(n, 2, SIDE // s, SIDE // s) for s in STRIDES[:levels]], count

    def call(self, operator, features, count):
        boxes = boxes_of(len(features[0]), count)
        # From 32 px on they are pooled from the second feature map.
        large = [Boxes(torch.cat([b.tensor, 3 * b.tensor])) for b in boxes]
        return pool_exactly(operator, features, large, [0.5] * len(features))

    def shapes(self, n, count):
        return (2 * n * count, 2, 3, 3)

    def leaves(self, operator, inputs):
        return list(inputs[0])

    def bad_inputs(self):
        features, count = self.inputs(1, 2)
        yield ([*features, features[0]], count), ValueError, "zip()"
