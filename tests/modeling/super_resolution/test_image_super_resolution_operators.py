"""Cases of the networks that super-resolve images, and of SRGAN's discriminator."""

from __future__ import annotations

from lowres_d2.modeling.backbone import CifarAlexNet
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.super_resolution import (
    ESPCN,
    VDSR,
    FeatureContent,
    ImageDiscriminator,
    SRResNet,
)

import torch

from operator_case import OperatorCase


class NetworkCase(OperatorCase):
    """Two images of 5 x 6 pixels, or one of 4 x 4."""

    sizes = [((2, 3, 5, 6),), ((1, 3, 4, 4),)]

    def inputs(self, size):
        return (torch.rand(size) * 0.8 + 0.1,)

    def shapes(self, size):
        factor = self.arguments["factor"]
        return (*size[:2], size[2] * factor, size[3] * factor)

    def bad_inputs(self):
        yield (torch.rand(1, 1, 4, 4),), ValueError, "images have 1 channels, expected 3"


class TestESPCN(NetworkCase):
    covers = (ESPCN,)
    variants = {"2": dict(factor=2, width=4), "3, deep": dict(factor=3, width=4, depth=4)}
    bad_arguments = [
        (dict(factor=1), "factor=1: expected a whole number from 2 up"),
        (dict(factor=1.5), "factor=1.5: expected a whole number from 2 up"),
        (dict(depth=1), "width=64, depth=1: expected 2 or more"),
        (dict(channels=0), "channels=0: expected a whole number from 1 up"),
    ]

    def build(self, **arguments):
        return ESPCN(**arguments)


class TestVDSR(NetworkCase):
    covers = (VDSR,)
    variants = {
        "2": dict(factor=2, width=4, depth=2),
        "3": dict(factor=3, width=4, depth=3),
    }
    bad_arguments = [
        (dict(factor=0), "factor=0: expected a whole number from 2 up"),
        (dict(depth=1), "depth=1: expected 2 or more"),
        (dict(width=-1), "width=-1: expected a whole number from 1 up"),
    ]

    def build(self, **arguments):
        network = VDSR(**arguments)
        # Behind dead units a bias of 0 would put the next ones on the ReLU's kink.
        for layer in network.layers[::2]:
            torch.nn.init.uniform_(layer.bias, 0.05, 0.2)
        return network


class TestSRResNet(NetworkCase):
    covers = (SRResNet,)
    variants = {"2": dict(factor=2, width=4, depth=1), "4": dict(factor=4, width=4, depth=2)}
    bad_arguments = [
        (dict(factor=3), "factor=3: expected a power of 2"),
        (dict(depth=0), "depth=0: expected a whole number from 1 up"),
    ]

    def build(self, **arguments):
        return SRResNet(**arguments)


class TestImageDiscriminator(OperatorCase):
    covers = (ImageDiscriminator,)
    variants = {
        "even": dict(image_size=8, width=3, depth=2, hidden=4),
        "odd": dict(image_size=8, width=2, depth=3, hidden=3),
    }
    bad_arguments = [
        (dict(image_size=0), "image_size=0: expected a whole number from 1 up"),
        (dict(depth=0), "depth=0: expected a whole number from 1 up"),
    ]

    def build(self, **arguments):
        return ImageDiscriminator(**arguments)

    def inputs(self):
        return (torch.rand(4, 3, 8, 8),)

    def shapes(self):
        return (4,)

    def bad_inputs(self):
        yield (torch.rand(2, 3, 8, 9),), ValueError, "images of 8x9 (height x width), expected 8x8"


class TestFeatureContent(OperatorCase):
    covers = (FeatureContent,)
    variants = {"features": dict(tap="backbone.stages.stage1"), "deeper": dict(pixels=0.5)}
    bad_arguments = [(dict(pixels=-1.0), "pixels=-1.0: expected a number, 0 or more")]
    graph_breaks = "hooks, one of which ends the classifier's forward pass"

    def build(self, tap="backbone.stages.stage2", **arguments):
        statistics = dict(pixel_mean=[125.0] * 3, pixel_std=[62.0] * 3)
        classifier = ImageClassifier(CifarAlexNet(width=2), 3, **statistics)
        return FeatureContent(classifier.to(torch.get_default_dtype()), None, tap, **arguments)

    def inputs(self):
        return torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)

    def leaves(self, operator, inputs):
        assert not any(p.requires_grad for p in operator.parameters())
        return inputs[0]

    def shapes(self):
        return ()
