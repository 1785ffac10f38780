"""Cases of the foreground decoder, its loss and its mask."""

from __future__ import annotations

from fractions import Fraction

import lowres_d2  # noqa: F401
from lowres_d2.modeling.objectives import ForegroundRefinement, ImageDecoder
from lowres_d2.modeling.objectives.foreground.mask import object_mask
from lowres_d2.structures import ObjectiveContext

import torch
from detectron2.structures import Boxes, Instances

from operator_case import OperatorCase

STRIDES = {"p2": 4, "p3": 8, "p4": 16}
SIZES = ((24, 20), (22, 17))  # of images that are padded to 32 x 32
MEAN_AND_STD = dict(pixel_mean=[110.0, 115.0, 120.0], pixel_std=[58.0, 57.0, 56.0])


def maps(n):
    return [torch.randn(n, 3, 32 // stride, 32 // stride) for stride in STRIDES.values()]


class TestImageDecoder(OperatorCase):
    """The readings of the paper, other levels, other norms, on maps of three channels."""

    covers = (ImageDecoder,)
    variants = {
        "48 channels": {},
        "12 channels at stride 2": dict(stride=2),
        "12 channels, enlarged": dict(shuffle=2),
        "one level": dict(levels=["p3"], depth=2),
        "two levels": dict(levels=["p2", "p4"], norm=""),
        "grey": dict(image_channels=1, norm="LN"),
    }
    sizes = [(1,), (2,)]
    dtypes = {torch.float32: torch.float32, torch.bfloat16: torch.float32}
    bad_arguments = [
        (dict(width=0), "width=0: expected a whole number from 1 up"),
        (dict(channels=2.5), "channels=2.5"),
        (dict(shuffle=3), "stride=4: expected a multiple of shuffle=3"),
        (dict(levels=[]), "levels=[]: expected a list of names among strides={'p2': 4,"),
        (dict(levels=["p7"]), "levels=['p7']: expected a list"),
        (dict(levels="p2"), "levels=p2: expected a list"),
        (dict(strides=STRIDES | {"p3": 12}), "strides['p3']=12: expected the decoder's stride=4"),
        (dict(stride=8), "strides['p2']=4: expected the decoder's stride=8, or 2, 4, 8, ... times"),
    ]

    def build(self, levels=STRIDES, strides=STRIDES, channels=3, width=4, depth=1, **arguments):
        return ImageDecoder(levels, strides, channels, width, depth, **arguments)

    def inputs(self, n):
        features = dict(zip(STRIDES, maps(n), strict=True))
        return ({level: features[level] for level in self.arguments.get("levels", STRIDES)},)

    def shapes(self, n):
        return (n, self.arguments.get("image_channels", 3), 32, 32)

    def bad_inputs(self):
        (features,) = self.inputs(1)
        yield ({"p7": features.popitem()[1]},), KeyError, "among the features, which are p7"
        (features,) = self.inputs(1)
        if len(features) > 1:
            cut = features | {"p4": features["p4"][..., :1]}
            yield (cut,), ValueError, "p4 of (2, 1) cells at a stride of 16 covers less"


class TestForegroundRefinement(OperatorCase):
    """Two images of other sizes, one without objects; a factor of 2."""

    covers = (ForegroundRefinement,)
    variants = {
        "mean": dict(losses=["image", "object"]),
        "sum": dict(reduction="sum"),
        "per_region": dict(reduction="per_region", losses=["object", "background", "image"]),
        "normalised": dict(losses=["background", "object"], **MEAN_AND_STD),
    }
    sizes = [(1,), (2,)]
    dtypes = {torch.float32: torch.float32, torch.bfloat16: torch.float32}
    bad_arguments = [
        (dict(losses=["foreground"]), "losses=['foreground']: expected a list of object"),
        (dict(losses=[]), "losses=[]"),
        (dict(losses="image"), "losses='image'"),
        (dict(reduction="max"), "reduction='max': expected one of sum, mean, per_region"),
        (dict(pixel_mean=[0, 0, 0]), "expected both or none"),
        (dict(pixel_mean=[0], pixel_std=[1]), "pixel_mean=[0]: expected 3 numbers"),
        (dict(name="a.b"), "objective name 'a.b'"),
    ]

    def build(self, losses=("object", "background"), **arguments):
        decoder = ImageDecoder(STRIDES, STRIDES, 3, width=2, depth=1)
        return ForegroundRefinement(decoder, losses, **arguments)

    def inputs(self, n):
        return tuple(maps(n))

    def call(self, operator, *features):
        n = len(features[0])
        objects = Instances((48, 40), gt_boxes=Boxes(torch.tensor([[6.0, 8.0, 34.0, 30.0]])))
        nothing = Instances((44, 34), gt_boxes=Boxes(torch.zeros(0, 4)))
        generator = torch.Generator().manual_seed(0)
        context = ObjectiveContext(
            images=[torch.empty(3, 2 * h, 2 * w) for h, w in SIZES[:n]],
            low_res_images=[torch.rand(3, *size, generator=generator) for size in SIZES[:n]],
            ground_truth=[objects, nothing][:n],
            factor=Fraction(2),
            student_taps={operator.features: [dict(zip(STRIDES, features, strict=True))]},
            teacher_taps={},
        )
        return operator(context)

    def bad_inputs(self):
        small = tuple(level[..., : level.shape[-1] // 2] for level in self.inputs(1))
        words = "an image of (3, 24, 16) is decoded, and the detector's is (3, 24, 20)"
        yield small, ValueError, words

    def shapes(self, n):
        return dict.fromkeys(self.arguments.get("losses", ("object", "background")), ())


class TestObjectMask(OperatorCase):
    covers = (object_mask,)
    takes_everything = "boxes outside of the image cover no pixel"
    not_differentiable = "a mask"
    sizes = [(5, 7, 3), (5, 7, 0), (1, 1, 2)]

    def build(self):
        return object_mask

    def inputs(self, height, width, boxes):
        corners = torch.rand(boxes, 2, 2).sort(dim=1).values * torch.tensor([width, height])
        return (corners.flatten(1), height, width)

    def call(self, operator, boxes, height, width):
        return operator(boxes, (height, width))

    def shapes(self, height, width, boxes):
        return (height, width)
