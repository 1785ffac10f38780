"""Cases of Deformable DETR's parts: positions, layers, queries, heads, neck, matcher, losses."""

from __future__ import annotations

import lowres_d2  # noqa: F401
from lowres_d2.modeling.deformable_detr.criterion import SetCriterion
from lowres_d2.modeling.deformable_detr.decoder import Decoder, DecoderLayer
from lowres_d2.modeling.deformable_detr.encoder import Encoder, EncoderLayer, FeedForward
from lowres_d2.modeling.deformable_detr.geometry import PyramidGeometry
from lowres_d2.modeling.deformable_detr.heads import BoxHead, class_head
from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher
from lowres_d2.modeling.deformable_detr.neck import LevelProjection
from lowres_d2.modeling.deformable_detr.position import sine_features
from lowres_d2.modeling.deformable_detr.proposals import LearnedQueries, TwoStageQueries

import torch
from detectron2.layers import ShapeSpec

from operator_case import OperatorCase
from toys.super_resolution import awaken

LEVELS = [(4, 5), (2, 3)]
CELLS = sum(h * w for h, w in LEVELS)
CHANNELS = 8
CLASSES = 3
LAYER = dict(channels=CHANNELS, num_heads=2, num_levels=2, num_points=2, feedforward=6)


def geometry(n, padded):
    """Of images of 32 x 40 pixels, or of smaller ones in a batch of this size."""
    levels = [torch.zeros(n, 1, *size) for size in LEVELS]
    sizes = [(32, 40), (25, 30)] if padded else [(32, 40)] * 2
    return PyramidGeometry.of(levels, (32, 40), sizes[2 - n :])


def random_weights(module):
    """Some start at zero, and stop gradients."""
    awaken(module)
    return module.eval()


class TestSineFeatures(OperatorCase):
    covers = (sine_features,)
    sizes = [((3,), 4), ((2, 0), 8)]
    dtypes = {torch.float32: torch.float32, torch.float64: torch.float64}

    def build(self):
        return sine_features

    def inputs(self, shape, channels):
        return torch.rand(shape), channels

    def shapes(self, shape, channels):
        return (*shape, channels)

    def bad_inputs(self):
        yield (torch.rand(2), 3), ValueError, "channels=3: expected an even number"


class PyramidCase(OperatorCase):
    """A batch with padding and one without."""

    variants = {"plain": dict(padded=False), "padded": dict(padded=True)}
    sizes = [(1,), (2,)]

    def geometry(self, n):
        return geometry(n, self.arguments["padded"])

    def shapes(self, n):
        return (n, CELLS, CHANNELS)


class TestEncoderLayer(PyramidCase):
    covers = (EncoderLayer, FeedForward)

    def build(self, padded):
        return random_weights(EncoderLayer(**LAYER))

    def inputs(self, n):
        return torch.randn(n, CELLS, CHANNELS), torch.randn(n, CELLS, CHANNELS)

    def call(self, operator, x, position):
        pyramid = self.geometry(len(x))
        return operator(x, position, pyramid.to_maps(pyramid.centres()), pyramid)

    def bad_inputs(self):
        x, position = self.inputs(1)
        yield (x, position[:, 1:]), RuntimeError, "must match"


class TestEncoder(TestEncoderLayer):
    covers = (Encoder,)
    variants = {"padded": dict(padded=True)}

    def build(self, padded):
        return random_weights(Encoder(2, **LAYER))

    def call(self, operator, x, position):
        return operator(x, position, self.geometry(len(x)))


class TestDecoderLayer(PyramidCase):
    covers = (DecoderLayer,)

    def build(self, padded):
        return random_weights(DecoderLayer(**LAYER))

    def inputs(self, n):
        queries = [torch.randn(n, 4, CHANNELS) for _ in range(2)]
        return *queries, torch.rand(n, 4, 4) * 0.4 + 0.3, torch.randn(n, CELLS, CHANNELS)

    def call(self, operator, x, position, reference, memory):
        pyramid = self.geometry(len(x))
        return operator(x, position, pyramid.to_maps(reference), memory, pyramid)

    def shapes(self, n):
        return (n, 4, CHANNELS)

    def bad_inputs(self):
        x, position, reference, memory = self.inputs(1)
        yield (x, position[:, 1:], reference, memory), RuntimeError, "must match"
        yield (x, position, reference, memory[..., 1:]), RuntimeError, "shapes cannot be multiplied"


class TestDecoder(TestDecoderLayer):
    covers = (Decoder,)
    variants = {
        "fixed references": dict(padded=True, refine=False),
        "refined": dict(padded=True, refine=True),
    }

    def build(self, padded, refine):
        self.heads = [random_weights(BoxHead(CHANNELS)) for _ in range(2 * refine)]
        return random_weights(Decoder(2, **LAYER))

    def call(self, operator, x, position, reference, memory):
        return operator(x, position, reference, memory, self.geometry(len(x)), self.heads)

    def shapes(self, n):
        return [((n, 4, CHANNELS), (n, 4, 4))] * 2

    def leaves(self, operator, inputs):
        if not self.heads:
            return super().leaves(operator, inputs)
        # A layer takes the boxes of the one before without their gradients.
        return [*operator.layers[-1].parameters(), *self.heads[-1].parameters()]


class QueriesCase(PyramidCase):
    variants = {"padded": dict(padded=True)}

    def inputs(self, n):
        return (torch.randn(n, CELLS, CHANNELS),)

    def call(self, operator, memory):
        queries = operator(memory, self.geometry(len(memory)))
        return queries.content, queries.position, queries.reference


class TestLearnedQueries(QueriesCase):
    covers = (LearnedQueries,)
    takes_everything = "of the memory only the number of images counts"

    def build(self, padded):
        return LearnedQueries(4, CHANNELS)

    def shapes(self, n):
        return (n, 4, CHANNELS), (n, 4, CHANNELS), (n, 4, 2)

    def leaves(self, operator, inputs):
        return [*operator.parameters()]


class TestTwoStageQueries(QueriesCase):
    covers = (TwoStageQueries,)

    def build(self, padded):
        return random_weights(TwoStageQueries(4, CHANNELS, CLASSES))

    def shapes(self, n):
        return (n, 4, CHANNELS), (n, 4, CHANNELS), (n, 4, 4)

    def leaves(self, operator, inputs):
        # References are taken without the gradients of the cells that propose them.
        return [*operator.position.parameters(), *operator.position_norm.parameters()]

    def bad_inputs(self):
        yield (torch.randn(1, CELLS, 5),), RuntimeError, "shapes cannot be multiplied"


class TestTwoStageProposals(TestTwoStageQueries):
    def call(self, operator, memory):
        return operator(memory, self.geometry(len(memory))).proposals

    def shapes(self, n):
        return {"pred_logits": (n, CELLS, CLASSES), "pred_boxes": (n, CELLS, 4)}

    def leaves(self, operator, inputs):
        parts = (operator.cell, operator.cell_norm, operator.class_head, operator.box_head)
        return [*inputs, *(p for part in parts for p in part.parameters())]


class TestClassHead(OperatorCase):
    covers = (class_head,)
    sizes = [(2, 3), (1, 0)]

    def build(self):
        return class_head(CHANNELS, CLASSES)

    def inputs(self, *shape):
        return (torch.randn(*shape, CHANNELS),)

    def shapes(self, *shape):
        return (*shape, CLASSES)

    def bad_inputs(self):
        yield (torch.randn(2, 5),), RuntimeError, "shapes cannot be multiplied"


class TestBoxHead(TestClassHead):
    covers = (BoxHead,)
    variants = {"points": dict(numbers=2), "boxes": dict(numbers=4)}

    def build(self, numbers):
        return random_weights(BoxHead(CHANNELS))

    def inputs(self, *shape):
        return torch.randn(*shape, CHANNELS), torch.rand(*shape, self.arguments["numbers"])

    def shapes(self, *shape):
        return (*shape, 4)

    def bad_inputs(self):
        x, reference = self.inputs(2, 3)
        yield (x[..., 1:], reference), RuntimeError, "shapes cannot be multiplied"


class TestLevelProjection(OperatorCase):
    covers = (LevelProjection,)
    sizes = [(1,), (2,)]
    bad_arguments = [(dict(in_features=["res6"]), "in_features=['res6']")]

    def build(self, in_features=("res4", "res5")):
        shapes = {"res4": ShapeSpec(channels=2), "res5": ShapeSpec(channels=3)}
        return LevelProjection(shapes, in_features, out_channels=32, num_levels=3)

    def inputs(self, n):
        return ({"res4": torch.randn(n, 2, 4, 6), "res5": torch.randn(n, 3, 2, 3)},)

    def shapes(self, n):
        return [(n, 32, 4, 6), (n, 32, 2, 3), (n, 32, 1, 2)]

    def bad_inputs(self):
        yield ({"res4": torch.randn(1, 2, 4, 6)},), KeyError, "res5"


def predictions(n):
    return torch.randn(n, 5, CLASSES), torch.rand(n, 5, 4) * 0.4 + 0.2


def objects(n):
    boxes = torch.tensor([[0.3, 0.4, 0.2, 0.3], [0.6, 0.5, 0.4, 0.2], [0.5, 0.5, 0.1, 0.1]])
    return [{"labels": torch.tensor([0, 2, 1])[i:], "boxes": boxes[i:]} for i in range(n)]


class TestMatcher(OperatorCase):
    covers = (HungarianMatcher,)
    sizes = [(1,), (2,)]
    not_differentiable = "indices of queries and objects"
    graph_breaks = "the assignment is scipy's"

    def build(self):
        return HungarianMatcher().__call__

    def inputs(self, n):
        return predictions(n)

    def call(self, operator, logits, boxes):
        return operator(logits, boxes, objects(len(logits)))

    def shapes(self, n):
        return [((3 - i,), (3 - i,)) for i in range(n)]

    def bad_inputs(self):
        logits, boxes = self.inputs(1)
        yield (logits, boxes.log()[:, :, :] * torch.inf), FloatingPointError, "20 of 20"


class TestSetCriterion(OperatorCase):
    covers = (SetCriterion,)
    variants = {"last layer": dict(others=()), "all": dict(others=("aux", "enc"))}
    sizes = [(1,), (2,)]
    graph_breaks = "the assignment is scipy's"

    def build(self, others, num_classes=CLASSES):
        return SetCriterion(num_classes, HungarianMatcher())

    def inputs(self, n):
        return tuple(predictions(n) for _ in range(1 + len(self.arguments["others"])))

    def call(self, operator, *layers):
        last, *others = [dict(zip(("pred_logits", "pred_boxes"), x, strict=True)) for x in layers]
        if others:
            last |= {"aux_outputs": [others[0]], "enc_outputs": others[1]}
        return operator(last, objects(len(last["pred_logits"])))

    def shapes(self, n):
        suffixes = ["", "_0", "_enc"] if self.arguments["others"] else [""]
        names = [
            f"loss_{name}{suffix}" for suffix in suffixes for name in ("class", "bbox", "giou")
        ]
        return dict.fromkeys(names, ())

    def bad_inputs(self):
        (logits, boxes), *others = self.inputs(1)
        yield (
            ((logits * torch.nan, boxes), *others),
            FloatingPointError,
            "15 of 15 predicted logits",
        )
