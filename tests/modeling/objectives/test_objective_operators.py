"""Cases of the objectives, and of the distances and choices that they are made of."""

from __future__ import annotations

from fractions import Fraction

import lowres_d2  # noqa: F401
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear
from lowres_d2.modeling.objectives import (
    DenseBoxDistillation,
    DenseLogitDistillation,
    FeatureDistillation,
    FeaturePair,
    MomentMatching,
    ProposalLogitDistillation,
    QueryLogitDistillation,
    WeightReconstruction,
)
from lowres_d2.structures import ObjectiveContext, low_res_size

import torch
from detectron2.modeling.box_regression import Box2BoxTransformLinear
from detectron2.structures import Boxes, Instances
from torch import nn

from operator_case import OperatorCase
from toys.detectors import CHANNELS, LEVELS, NUM_CLASSES, STRIDES, faster_rcnn_fpn

FACTOR = Fraction(2)
SIZES = ((24, 32), (22, 17))


def context(n, student, teacher, network=None):
    """Of the first n images; what taps captured is by tap."""
    objects = Instances(SIZES[0], gt_boxes=Boxes(torch.tensor([[3.0, 4.0, 17.0, 15.0]])))
    return ObjectiveContext(
        images=[torch.empty(3, *size) for size in SIZES[:n]],
        low_res_images=[torch.empty(3, *low_res_size(size, FACTOR)) for size in SIZES[:n]],
        ground_truth=[objects] * n,
        factor=FACTOR,
        student_taps={tap: [value] for tap, value in student.items()},
        teacher_taps={tap: [value] for tap, value in teacher.items()},
        teacher=network,
    )


class ObjectiveCase(OperatorCase):
    """An objective that compares the student's captures with the teacher's, in order of taps.

    Gradients are asked for the student's only; the composition computes the teacher's without.
    """

    sizes = [(1,), (2,)]
    dtypes = {torch.float32: torch.float32, torch.bfloat16: torch.float32}
    losses = ("cls",)
    teacher = None  # the network; built with the objective
    graph_breaks = "dynamo does not trace the fractions that cells are counted with"

    def call(self, operator, student, teacher):
        taps = dict(zip(operator.student_taps, student, strict=True))
        teacher = dict(zip(operator.teacher_taps, teacher, strict=True))
        return operator(context(len(student[0]), taps, teacher, self.teacher))

    def shapes(self, n):
        return dict.fromkeys(self.losses, ())

    def leaves(self, operator, inputs):
        return [*inputs[0], *operator.parameters()]


class TestFeatureDistillation(ObjectiveCase):
    """Maps of stride 4 in both networks: 4 x 3 and 8 x 6 cells, of which padding is one."""

    covers = (FeatureDistillation,)
    losses = ("s",)
    variants = {
        "squared": {},
        "euclidean": dict(distance="euclidean"),
        "correlation": dict(distance="correlation"),
        "channel": dict(distance="channel"),
        "interpolate": dict(alignment="interpolate"),
        "foreground": dict(foreground_share=0.5),
        "more channels": dict(channels=(3, 4)),
        "fewer channels": dict(channels=(3, 2)),
    }
    bad_arguments = [
        (dict(distance="cosine"), "distance='cosine'"),
        (dict(alignment="stretch"), "alignment='stretch'"),
        (dict(distance="channel", foreground_share=0.5), "foreground_share"),
        (dict(foreground_share=2.0), "foreground_share=2.0: expected 0 to 1"),
        (dict(name="a.b"), "objective name 'a.b'"),
        (dict(student_stride=0), "student_stride=0: expected a positive number"),
        (dict(teacher_stride=0), "teacher_stride=0"),
        (dict(channels=(3, 0)), "channels[1]=0"),
    ]

    def build(self, channels=None, student_stride=4, teacher_stride=None, **arguments):
        pair = FeaturePair("s", student_stride, "t", teacher_stride, channels=channels)
        return FeatureDistillation([pair], **arguments)

    def inputs(self, n):
        channels = self.arguments.get("channels", (3, 3))[1]
        return [torch.randn(n, 3, 4, 5)], [torch.randn(n, channels, 7, 9)]

    def bad_inputs(self):
        student, teacher = self.inputs(1)
        yield (student, [torch.randn(1, 7, 7, 9)]), ValueError, "differ in channels"
        if self.arguments.get("alignment") != "interpolate":
            yield ([student[0][..., :2]], teacher), ValueError, "check the stride"


class TestDistillationOfVectors(ObjectiveCase):
    """One vector of features for each image."""

    covers = ()
    losses = ("s",)
    variants = {
        "euclidean": dict(distance="euclidean"),
        "interpolate": dict(alignment="interpolate"),
        "more features": dict(distance="euclidean", channels=(3, 4)),
        "fewer features": dict(distance="euclidean", channels=(3, 2)),
    }
    bad_arguments = [
        (dict(distance="channel"), "set student_stride"),
        (dict(distance="correlation"), "set student_stride"),
        (dict(foreground_share=0.5), "set student_stride"),
    ]

    def build(self, channels=None, **arguments):
        return FeatureDistillation([FeaturePair("s", None, "t", channels=channels)], **arguments)

    def inputs(self, n):
        channels = self.arguments.get("channels", (3, 3))[1]
        return [torch.randn(n, 3)], [torch.randn(n, channels)]

    def bad_inputs(self):
        student, teacher = self.inputs(2)
        yield (student, [torch.randn(2, 7)]), ValueError, "differ in channels"
        yield ([torch.randn(2, 3, 4, 5)], teacher), ValueError, "set student_stride"


class TestMomentMatching(OperatorCase):
    covers = (MomentMatching,)
    variants = {"std": dict(spread="std"), "variance": dict(spread="variance")}
    sizes = [(1,), (2,)]
    bad_arguments = [(dict(spread="range"), "spread='range'")]

    def build(self, spread):
        return MomentMatching(spread=spread)

    def inputs(self, n):
        low_res = [low_res_size(size, FACTOR) for size in SIZES[:n]]
        return tuple([torch.rand(3, *size) for size in sizes] for sizes in (SIZES[:n], low_res))

    def call(self, operator, images, low_res_images):
        truth = [None] * len(images)
        return operator(ObjectiveContext(images, low_res_images, truth, FACTOR, {}, {}))

    def shapes(self, n):
        return {"mean": (), "spread": ()}

    def bad_inputs(self):
        images, low_res = self.inputs(1)
        yield (images, [low_res[0][:2]]), RuntimeError, "must match"
        yield ([], low_res), IndexError, "out of range"


class DenseCase(ObjectiveCase):
    """Heads on levels of strides 4 and 8 in both networks; the teacher is sure of some cells."""

    strides = (4, 8)
    pairs = ((0, 0), (1, 1))

    def maps(self, n, channels, sizes=((3, 4), (2, 2))):
        return [torch.randn(n, channels, *size) * 2 for size in sizes]

    def teacher_maps(self, n, channels):
        return self.maps(n, channels, ((6, 8), (3, 4)))


class TestDenseLogitDistillation(DenseCase):
    covers = (DenseLogitDistillation,)
    variants = {
        "softmax": {},
        "sigmoid": dict(form="sigmoid", num_anchors=2, temperature=2.0),
        "focal": dict(form="focal"),
        "student": dict(sample="student"),
        "cross_head": dict(cross_head=True),
    }
    bad_arguments = [
        (dict(form="l2"), "form='l2'"),
        (dict(sample="both"), "sample='both'"),
        (dict(temperature=0.0), "temperature=0.0"),
        (dict(pairs=[(0, 2)]), "pair (0, 2) of levels"),
        (dict(num_anchors=0), "num_anchors=0: expected 1 or more"),
        (dict(threshold=1.5), "threshold=1.5: expected a class probability"),
        (dict(teacher_strides=[8, 0]), "teacher_strides=[8, 0]"),
    ]

    def build(self, **arguments):
        head = nn.ModuleDict({"cls_score": nn.Conv2d(4, 4, 1).requires_grad_(False)})
        self.teacher = nn.ModuleDict({"head": head})
        return DenseLogitDistillation(self.strides, **{"pairs": self.pairs} | arguments)

    def inputs(self, n):
        return self.maps(n, 4), self.teacher_maps(n, 4)

    def bad_inputs(self):
        student, teacher = self.inputs(1)
        yield (
            (self.maps(1, 3), teacher),
            ValueError,
            "channels" if self.arguments.get("cross_head") else "both need the same classes",
        )
        yield (student, self.maps(1, 4)), ValueError, "check the stride"


class TestDenseBoxDistillation(DenseCase):
    covers = (DenseBoxDistillation,)
    losses = ("reg",)
    variants = {"giou": dict(distance="giou"), "l1": dict(distance="l1")}
    bad_arguments = [
        (dict(distance="l2"), "distance='l2'"),
        (dict(num_anchors=0), "num_anchors=0"),
        (dict(threshold=1.5), "threshold=1.5"),
    ]

    def build(self, **arguments):
        return DenseBoxDistillation(
            self.strides, Box2BoxTransformLinear(), pairs=self.pairs, **arguments
        )

    def inputs(self, n):
        student = [*self.maps(n, 2), *(x.abs() + 0.5 for x in self.maps(n, 4))]
        teacher = self.teacher_maps(n, 2), self.teacher_maps(n, 4)
        return student, [*teacher[0], *(x.abs() + 0.5 for x in teacher[1])]

    def call(self, operator, student, teacher):
        centres = [torch.tensor([[0.0, 0.0, s, s]]) for s in self.strides]
        return super().call(operator, [*student, [Boxes(x) for x in centres]], teacher)

    def leaves(self, operator, inputs):
        return inputs[0][2:]  # whose boxes are compared, the teacher's classes say alone

    def bad_inputs(self):
        student, teacher = self.inputs(1)
        wrong = [*self.maps(1, 3), *student[2:]]
        yield (wrong, teacher), ValueError, "both need the same classes"


class TestProposalLogitDistillation(ObjectiveCase):
    covers = (ProposalLogitDistillation,)
    variants = {
        "softmax": dict(learn_boxes=True),
        "sigmoid": dict(form="sigmoid", learn_boxes=True),
    }
    losses = ("cls", "box")
    dtypes = {torch.float32: torch.float32}
    bad_arguments = [
        (dict(form="focal"), "form='focal'"),
        (dict(temperature=-1.0), "temperature=-1.0"),
        (dict(threshold=-0.1), "threshold=-0.1"),
    ]
    graph_breaks = "the poolers count boxes"

    def build(self, **arguments):
        self.teacher = faster_rcnn_fpn().eval().requires_grad_(False)
        nn.init.normal_(self.teacher.roi_heads.box_predictor.cls_score.weight, std=3.0)
        return ProposalLogitDistillation(**arguments)

    def inputs(self, n):
        maps = [torch.randn(n, CHANNELS, 32 // s, 32 // s) for s in STRIDES]
        return [torch.randn(3 * n, NUM_CLASSES + 1), torch.randn(3 * n, 4 * NUM_CLASSES)], maps

    def call(self, operator, student, teacher):
        n = len(teacher[0])
        boxes = torch.tensor([[1.0, 1.0, 9.0, 9.0], [0.0, 3.0, 12.0, 11.0], [5.0, 2.0, 8.0, 10.0]])
        pooled = (None, [Boxes(boxes) for _ in range(n)])
        taps = {operator.boxes[0]: pooled, operator.predictions[0]: tuple(student)}
        features = {operator.features: dict(zip(LEVELS, teacher, strict=True))}
        return operator(context(n, taps, features, self.teacher))

    def bad_inputs(self):
        (logits, deltas), maps = self.inputs(1)
        words = "the student scores 2 classes, the teacher 3"
        yield ([logits[:, 1:], deltas], maps), ValueError, words


class TestQueryLogitDistillation(ObjectiveCase):
    covers = (QueryLogitDistillation,)
    variants = {
        "index": dict(pairing="index", learn_boxes=True),
        "hungarian": dict(pairing="hungarian", learn_boxes=True, form="sigmoid"),
    }
    losses = ("cls", "l1", "giou")
    bad_arguments = [
        (dict(pairing="order"), "pairing='order'"),
        (dict(activation="relu"), "activation='relu'"),
        (dict(form="focal"), "form='focal'"),
        (dict(threshold=1.5), "threshold=1.5: expected a class probability"),
    ]
    graph_breaks = "how many queries are kept depends on the teacher"

    def build(self, **arguments):
        return QueryLogitDistillation(**{"threshold": 0.3} | arguments)

    def inputs(self, n, queries=5, classes=3):
        return tuple(
            [torch.randn(n, queries, classes), torch.rand(n, queries, 4) * 0.3 + 0.3]
            for _ in range(2)
        )

    def bad_inputs(self):
        _, teacher = self.inputs(1)
        yield (self.inputs(1, classes=4)[0], teacher), ValueError, "both need the same classes"
        if self.arguments["pairing"] == "index":
            yield (self.inputs(1, queries=4)[0], teacher), ValueError, "use pairing='hungarian'"


class TestWeightReconstruction(OperatorCase):
    """Of a convolution, to whose weights the gradients are, and a fully connected layer."""

    covers = (WeightReconstruction,)
    variants = {"convolutions": {}, "linear": dict(linear=True)}
    sizes = [(1, 1), (3, 2)]
    bad_arguments = [(dict(name="a.b"), "objective name 'a.b'")]

    def build(self, **arguments):
        return WeightReconstruction(**arguments)

    def inputs(self, out, channels):
        return (torch.randn(out, channels, 3, 3),)

    def call(self, operator, weight):
        layer = BinaryConv2d(weight.shape[1], len(weight), 3)
        del layer.weight
        layer.weight = weight  # a tensor, which gradients pass through
        student = nn.Sequential(layer, BinaryLinear(2, 2))
        nn.init.ones_(student[1].weight)
        return operator(ObjectiveContext([], [], [], FACTOR, {}, {}, student=student))

    def shapes(self, out, channels):
        return {"reconstruction": ()}
