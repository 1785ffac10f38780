"""Cases of the structures: feature maps that are sampled, images and boxes that change frames."""

from __future__ import annotations

from fractions import Fraction

import lowres_d2  # noqa: F401
from lowres_d2.structures import (
    FeatureMap,
    drop_small,
    fit_instances,
    pad_to_factor,
    scale_instances,
)

import torch
from detectron2.structures import Boxes, Instances

from operator_case import OperatorCase

SIZE = (16, 20)  # of an image in pixels


class TestFeatureMap(OperatorCase):
    """A student's map at 2x, stride 4, sampled at the cells of a teacher's map of stride 4."""

    covers = (FeatureMap,)
    graph_breaks = "dynamo does not trace the fractions that cells are counted with"
    variants = {
        "sampled_at": dict(method="sampled_at"),
        "beside": dict(method="beside"),
        "inside": dict(method="inside"),
    }
    sizes = [(1,), (2,)]

    def build(self, method):
        def sampled(student):
            sizes = (SIZE,) * len(student)
            ours = FeatureMap.of_network(student, 4, 0.5, sizes, Fraction(2))
            theirs = FeatureMap.of_network(student.new_ones(len(student), 1, 5, 6), 4, 0.5, sizes)
            if method == "inside":
                return ours.inside(0)
            if method == "sampled_at":
                return ours.sampled_at(theirs, 0)
            return [values for _, values, _ in ours.beside(theirs)]

        return sampled

    def inputs(self, n):
        return (torch.randn(n, 3, 2, 3),)

    def shapes(self, n):
        return {"inside": (3, 2, 3), "sampled_at": (3, 4, 5), "beside": [(3, n, 4, 5)]}[
            self.arguments["method"]
        ]

    def bad_inputs(self):
        yield (torch.randn(1, 3, 1, 3),), ValueError, "check the stride"


class TestPadToFactor(OperatorCase):
    covers = (pad_to_factor,)
    variants = {"3/2": dict(factor=Fraction(3, 2)), "2": dict(factor=Fraction(2))}
    sizes = [(1, 6, 4), (2, 5, 5)]

    def build(self, factor):
        return lambda images: pad_to_factor(images, factor)

    def inputs(self, *shape):
        n, height, width = shape
        return (torch.rand(n, 3, height, width),)

    def shapes(self, n, height, width):
        p = self.arguments["factor"].numerator
        return (n, 3, -(-height // p) * p, -(-width // p) * p)

    def bad_inputs(self):
        yield (torch.rand(5, 5),), NotImplementedError, "padding"


class InstancesCase(OperatorCase):
    """Boxes in, boxes out: the tensors inside of ``Instances``."""

    sizes = [(3,), (0,)]

    def inputs(self, m):
        return (torch.tensor([[1.0, 2.0, 9.0, 8.0]]).repeat(m, 1) + torch.rand(m, 4),)

    def call(self, operator, boxes, field=None):
        instances = Instances(SIZE, gt_boxes=Boxes(boxes), gt_classes=torch.arange(len(boxes)))
        if field is not None:
            instances.gt_field = field
        moved = operator(instances)
        return {"boxes": moved.gt_boxes.tensor, "classes": moved.gt_classes}

    def shapes(self, m):
        return {"boxes": (m, 4), "classes": (m,)}


class MovedCase(InstancesCase):
    def bad_inputs(self):
        (boxes,) = self.inputs(2)
        yield (boxes, torch.zeros(2, 17, 3)), ValueError, "'gt_field' (Tensor) may hold coordinates"


class TestScaleInstances(MovedCase):
    covers = (scale_instances,)

    def build(self):
        return lambda instances: scale_instances(instances, Fraction(3, 2), (12, 14))


class TestFitInstances(MovedCase):
    covers = (fit_instances,)
    graph_breaks = "how many boxes are left depends on the boxes"

    def build(self):
        return lambda instances: fit_instances(instances, (15, 18), (30, 36))


class TestDropSmall(InstancesCase):
    covers = (drop_small,)
    takes_everything = "nothing moves: any field stays with its object"
    graph_breaks = "how many boxes are left depends on the boxes"

    def build(self):
        return lambda instances: drop_small(instances, 3.0)[0]
