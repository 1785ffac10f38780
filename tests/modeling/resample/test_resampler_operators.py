"""Cases of the resamplers."""

from __future__ import annotations

from lowres_d2.modeling.resample import (
    AnyFactor,
    Bicubic,
    Downsampled,
    DownUp,
    Identity,
    LearnedDownsampler,
    Resampler,
    SuperResolved,
)
from lowres_d2.modeling.super_resolution import ESPCN, SRResNet

import pytest
import torch

from operator_case import OperatorCase, without_shape_checks


class Doubling(Resampler):
    """Says that it makes images smaller, and does not."""

    def resample(self, images):
        return images


class ResamplerCase(OperatorCase):
    """One image of 8 x 12 pixels, or two sizes of which the second needs padding."""

    sizes = [([(8, 12)],), ([(8, 12), (9, 13), (8, 12)],)]

    def inputs(self, sizes):
        return ([torch.rand(3, *size) * 0.8 + 0.1 for size in sizes],)  # unclamped

    def shapes(self, sizes):
        return [(3, *self.low_res(*size)) for size in sizes]

    def low_res(self, height, width):
        return height, width


class TestIdentity(ResamplerCase):
    covers = (Identity,)
    takes_everything = "images are returned as they are"

    def build(self):
        return Identity()


class TestBicubic(ResamplerCase):
    covers = (Bicubic, Resampler)
    variants = {"3/2": dict(factor="3/2"), "2": dict(factor=2)}
    bad_arguments = [(dict(factor=0), "factor=0"), (dict(factor=4 / 3), "'4/3'")]

    def build(self, factor):
        return Bicubic(factor)

    def low_res(self, height, width):
        if self.arguments["factor"] == 2:
            return -(-height // 2), -(-width // 2)
        return -(-height // 3) * 2, -(-width // 3) * 2

    def bad_inputs(self):
        yield ([torch.rand(3, 1, 1)],), ValueError, "an image of 1x1 (height x width) is smaller"

    def test_a_wrong_size_is_refused(self):
        with pytest.raises(ValueError, match=r"Doubling made \(8, 12\).*asks for \(4, 6\)"):
            Doubling(2)(*self.inputs([(8, 12)]))


class TestDownsampled(ResamplerCase):
    covers = (Downsampled,)
    variants = {
        "bicubic": dict(factor=2),
        "bilinear": dict(factor=2, interpolation="bilinear"),
        "box": dict(factor=2, interpolation="box"),
    }
    bad_arguments = [
        (dict(factor=2, interpolation="nearest"), "interpolation='nearest'"),
        (dict(factor="3/2", interpolation="box"), "interpolation='box' with factor 3/2"),
        (dict(factor=0.5), "factor=1/2: would make images larger; expected 1 or more"),
    ]

    def build(self, **arguments):
        return Downsampled(**arguments)

    def low_res(self, height, width):
        return -(-height // 2), -(-width // 2)

    def bad_inputs(self):
        yield ([torch.rand(3, 1, 1)],), ValueError, "an image of 1x1 (height x width) is smaller"


class TestSuperResolved(ResamplerCase):
    covers = (SuperResolved,)
    variants = {
        "own size": dict(output_factor=1),
        "the network's size": dict(output_factor=2),
        "between": dict(low_factor=3, output_factor="3/2"),
        "norms": dict(network=SRResNet(width=2, depth=1)),
    }
    bad_arguments = [
        (dict(low_factor=4, output_factor=3), "low_factor=4, output_factor=3: expected a low"),
        (dict(low_factor=1), "low_factor=1, output_factor=1: expected a low_factor above 1"),
        (dict(output_factor=0.5), "output_factor=0.5: the result would be larger than the image"),
        (dict(interpolation="nearest"), "interpolation='nearest'"),
    ]

    def build(self, network=None, **arguments):
        network = ESPCN(width=4) if network is None else network.to(torch.get_default_dtype())
        # Of an untrained network: values that clamping to [0, 1] leaves alone.
        last = network.last if isinstance(network, SRResNet) else network.layers[-2]
        last.bias.data.fill_(0.5)
        last.weight.data.mul_(0.1)
        return SuperResolved(network, None, **arguments)

    def leaves(self, operator, inputs):
        assert not any(p.requires_grad for p in operator.parameters())
        return inputs[0]

    def low_res(self, height, width):
        if "low_factor" in self.arguments:
            return -(-height // 3) * 2, -(-width // 3) * 2
        factor = self.arguments.get("output_factor", 1)
        return -(-height // factor), -(-width // factor)

    def bad_inputs(self):
        yield ([torch.rand(3, 1, 1)],), ValueError, "an image of 1x1 (height x width) is smaller"


class TestDownUp(ResamplerCase):
    covers = (DownUp,)
    variants = {
        "3/2": dict(factor="3/2"),
        "4": dict(factor=4),
        "bilinear": dict(factor="3/2", interpolation="bilinear"),
        "box": dict(factor=4, interpolation="box"),
    }
    bad_arguments = [
        (dict(factor="x"), "factor='x'"),
        (dict(factor=2, interpolation="nearest"), "interpolation='nearest'"),
        (dict(factor="1/2"), "factor=1/2: would make images larger; expected 1 or more"),
    ]

    def build(self, **arguments):
        return DownUp(**arguments)

    def bad_inputs(self):
        yield ([torch.rand(3, 1, 1)],), ValueError, "an image of 1x1 (height x width) is smaller"


class TestLearnedDownsampler(ResamplerCase):
    covers = (LearnedDownsampler,)
    variants = {
        "box": dict(factor=4),
        "1 layer": dict(factor=4, layers=1),
        "5 layers, random": dict(factor=4, layers=5, init="random"),
        "2": dict(factor=2),
        "3": dict(factor=3),
    }
    bad_arguments = [
        (dict(factor=5), "factor=5, layers=2"),
        (dict(init="zeros"), "init='zeros', expected 'box' or 'random'"),
        (dict(factor=4, strides=[1, 2]), "strides=[1, 2], expected 2 whose product is"),
        (dict(factor=4, strides=[4, 1]), "strides=[4, 1] skip pixels, expected at most"),
    ]

    def build(self, **arguments):
        return LearnedDownsampler(**arguments)

    def low_res(self, height, width):
        factor = self.arguments["factor"]
        return -(-height // factor), -(-width // factor)

    def bad_inputs(self):
        yield ([torch.rand(3, 1, 1)],), ValueError, "an image of 1x1 (height x width) is smaller"


class TestAnyFactor(ResamplerCase):
    covers = (AnyFactor,)
    variants = {"2": dict(factor=2), "4": dict(factor=4)}
    bad_arguments = [
        (dict(factor=3), "model.resampler.factor=3: expected one of 4, 2"),
        (dict(factor=2, shares=[1]), "shares=[1]: expected 2 positive numbers"),
    ]

    def build(self, factor, shares=None):
        return AnyFactor([LearnedDownsampler(4), Bicubic(2)], factor, shares)

    def low_res(self, height, width):
        factor = self.arguments["factor"]
        return -(-height // factor), -(-width // factor)

    def leaves(self, operator, inputs):
        return [*inputs[0], *operator.by_factor[str(operator.factor)].parameters()]

    def bad_inputs(self):
        yield ([torch.rand(3, 1, 1)],), ValueError, "an image of 1x1 (height x width) is smaller"


@pytest.mark.parametrize("resampler", [Bicubic("3/2"), LearnedDownsampler(4)], ids=["3/2", "4"])
@torch.no_grad()
def test_a_compiled_resampler_takes_images_of_other_sizes(resampler):
    torch._dynamo.reset()
    compiled = torch.compile(resampler, backend="eager")
    with without_shape_checks():
        for size in ((64, 64), (96, 64), (70, 51)):  # from the second on sizes are symbols
            image = torch.rand(3, *size)
            assert torch.equal(compiled([image])[0], resampler([image])[0])
