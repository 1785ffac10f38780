"""The residual network with a shortcut around each convolution."""

from __future__ import annotations

from lowres_d2.modeling.backbone import PReLUStem, ShortcutBlock, SmallShortcutResNet

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling.backbone.resnet import BasicStem, ResNet

NAMES = ["res2", "res3", "res4", "res5"]


def resnet18(stem=PReLUStem, **stages):
    return ResNet(
        stem=stem(norm="BN"),
        stages=ResNet.make_default_stages(depth=18, norm="BN", **stages),
        out_features=NAMES,
    )


@pytest.mark.parametrize(("h", "w"), [(64, 96), (65, 33), (1, 1)])
def test_strides_are_those_of_resnet(h, w):
    network = resnet18(block_class=ShortcutBlock).eval()
    with torch.no_grad():
        features = network(torch.randn(1, 3, h, w))
    assert {name: tuple(x.shape[1:]) for name, x in features.items()} == {
        name: (channels, -(-h // stride), -(-w // stride))
        for name, channels, stride in zip(NAMES, (64, 128, 256, 512), (4, 8, 16, 32), strict=True)
    }
    assert [shape.stride for shape in network.output_shape().values()] == [4, 8, 16, 32]


def test_weights_of_detectron2_s_resnet_load_all_but_the_slopes():
    network, plain = resnet18(block_class=ShortcutBlock), resnet18(BasicStem)
    found = network.load_state_dict(plain.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert len(found.missing_keys) == 1 + 4 * 2 * 2
    assert all(".prelu" in name for name in found.missing_keys)


def test_a_block_is_the_sum_of_each_convolution_and_what_goes_in():
    torch.manual_seed(0)
    block = ShortcutBlock(3, 4, stride=2, norm="BN").eval()
    block.prelu1.weight.data = torch.tensor([0.1, 0.2, 0.3, 0.4])
    x = torch.randn(2, 3, 6, 8)
    means = x.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
    y = block.conv1(x) + block.shortcut(means)
    y = torch.where(y >= 0, y, y * block.prelu1.weight[:, None, None])
    z = block.conv2(y) + y
    torch.testing.assert_close(block(x), torch.where(z >= 0, z, z * 0.25))


def test_equal_channels_need_no_convolution_in_the_shortcut():
    x = torch.randn(1, 4, 5, 5)
    for stride, skip in ((1, x), (2, F.avg_pool2d(F.pad(x, (0, 1, 0, 1), "replicate"), 2))):
        block = ShortcutBlock(4, 4, stride=stride)
        assert block.shortcut is None
        for convolution in (block.conv1, block.conv2):
            convolution.norm.weight.data.zero_()  # so that only the shortcuts are left
        once = F.prelu(skip, block.prelu1.weight)
        expected = F.prelu(once, block.prelu2.weight)
        if stride == 2:  # the last column's mean is of the pixels that there are
            torch.testing.assert_close(block(x)[..., :2, :2], expected[..., :2, :2])
            corner = F.prelu(F.prelu(x[..., -1, -1], torch.tensor(0.25)), torch.tensor(0.25))
            torch.testing.assert_close(block(x)[..., -1, -1], corner)
        else:
            torch.testing.assert_close(block(x), expected)


def test_the_stem_keeps_negative_values():
    stem = PReLUStem(3, 8)
    x = stem(torch.randn(1, 3, 32, 32))
    assert x.shape == (1, 8, 8, 8) and stem.stride == 4
    convolved = stem.conv1(torch.full((1, 3, 9, 9), 2.0))
    expected = F.max_pool2d(torch.where(convolved < 0, convolved / 4, convolved), 3, 2, 1)
    torch.testing.assert_close(stem(torch.full((1, 3, 9, 9), 2.0)), expected)
    assert (stem(torch.randn(1, 3, 9, 9)) < 0).any()


def test_frozen_stages_have_no_gradient():
    network = resnet18(block_class=ShortcutBlock).freeze(2)
    frozen = {name.split(".")[0] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {"stem", "res2"}


def test_the_small_one_has_the_strides_of_the_small_resnet():
    network = SmallShortcutResNet(in_channels=5, out_features=["res2", "res5"]).eval()
    features = network(torch.zeros(1, 5, 64, 96))
    shapes = {name: tuple(x.shape[1:]) for name, x in features.items()}
    assert shapes == {"res2": (32, 16, 24), "res5": (128, 2, 3)}
    assert sum(p.numel() for p in network.parameters()) < 500_000
    with pytest.raises(ValueError, match="one more than depths"):
        SmallShortcutResNet(channels=(8, 16))
