from __future__ import annotations

from lowres_d2.modeling.backbone import SmallResNet

import pytest
import torch


@pytest.mark.parametrize(("stem_stride", "strides"), [(2, [4, 8, 16, 32]), (1, [2, 4, 8, 16])])
def test_shapes_and_strides(stem_stride, strides):
    network = SmallResNet(stem_stride=stem_stride).eval()
    features = network(torch.zeros(1, 3, 64, 96))
    shapes = network.output_shape()
    assert list(features) == ["res2", "res3", "res4", "res5"]
    for (name, tensor), stride, channels in zip(
        features.items(), strides, (32, 48, 96, 128), strict=True
    ):
        assert tensor.shape == (1, channels, 64 // stride, 96 // stride)
        assert (shapes[name].stride, shapes[name].channels) == (stride, channels)


def test_a_stem_of_stride_4_and_more_channels_of_the_image():
    network = SmallResNet(
        channels=(12, 16, 32),
        depths=(1, 2),
        stem_stride=4,
        stem_middle=6,
        in_channels=5,
        out_features=("res2", "res3"),
    )
    features = network.eval()(torch.zeros(1, 5, 64, 96))
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in features.items()}
    assert shapes == {"res2": (16, 8, 12), "res3": (32, 4, 6)}
    assert [shape.stride for shape in network.output_shape().values()] == [8, 16]


def test_it_is_small_enough_for_a_cpu():
    assert sum(p.numel() for p in SmallResNet().parameters()) < 500_000


def test_cells_are_half_a_pixel_after_multiples_of_the_stride():
    # Averaging weights preserve a ramp of coordinates; each block's shortcut doubles it.
    network = SmallResNet(channels=(2, 3, 4, 5, 6), norm="").eval()
    for parameter in network.parameters():
        parameter.data.fill_(1 / parameter[0].numel() if parameter.dim() == 4 else 0)
    ramp = (torch.arange(512) + 0.5).expand(1, 3, 512, 512)
    for power, (stride, features) in enumerate(
        zip((4, 8, 16, 32), network(ramp).values(), strict=True), start=1
    ):
        expected = torch.arange(features.shape[-1]) * stride + 0.5
        middle = slice(6, -6)
        row = features[0, 0, features.shape[-2] // 2] / 2**power
        torch.testing.assert_close(row[middle], expected[middle], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(channels=(8, 8, 16, 32, 64)), "successive numbers must differ"),
        (dict(channels=(8, 16)), "one more than depths"),
        (dict(stem_stride=4), "or of 4 with stem_middle"),
        (dict(stem_middle=4), "expected a stride of 1 or 2"),
        (dict(stem_stride=3), "stem_stride=3"),
    ],
)
def test_invalid_channels_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SmallResNet(**arguments)
