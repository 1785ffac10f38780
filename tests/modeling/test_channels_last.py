"""Narrow networks train in the channels-last layout, with the gradients of the contiguous one."""

import copy
import subprocess
import sys

from lowres_d2.modeling.backbone import AtrousTwin, SmallResNet
from lowres_d2.modeling.backbone.cell_offsets import cell_offsets
from lowres_d2.modeling.channels_last import to_channels_last

import pytest
import torch
from torch import nn

# In a process of its own: where the fault is, it ends the process.
TRAINING = """
import sys, torch
from lowres_d2.modeling.backbone import SmallResNet
from lowres_d2.modeling.channels_last import to_channels_last
for width in map(int, sys.argv[1:]):
    torch.manual_seed(0)
    channels = (width, width + 1, width + 2, width + 4, width + 6)
    network = to_channels_last(SmallResNet(channels=channels))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    for _ in range(6):
        images = torch.rand(8, 3, 96, 96).to(memory_format=torch.channels_last)
        optimizer.zero_grad()
        sum(features.square().mean() for features in network(images).values()).backward()
        optimizer.step()
    print(width, flush=True)
"""


def gradients(network, images):
    network.zero_grad()
    sum(features.square().mean() for features in network(images).values()).backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("width", [4, 8, 12])
def test_gradients_of_narrow_networks_equal_those_of_the_contiguous_layout(width):
    torch.manual_seed(0)
    contiguous = SmallResNet(channels=(width, width + 1, width + 2, width + 4, width + 6))
    images = torch.rand(4, 3, 64, 96)
    expected = gradients(contiguous, images)
    network = to_channels_last(copy.deepcopy(contiguous))
    found = gradients(network, images.to(memory_format=torch.channels_last))
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5, msg=name)


def test_narrow_networks_train():
    command = [sys.executable, "-c", TRAINING, "4", "12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["4", "12"]), done.stderr[-500:]


@pytest.mark.parametrize("stride", [2, 3, (2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_strided_1x1_convolution_computes_the_same(stride, groups):
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, 1, stride, groups=groups)
    images = torch.rand(2, 4, 9, 12)
    expected = convolution(images)
    found = to_channels_last(nn.Sequential(convolution))(images)
    assert convolution.stride == (1, 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("arguments", [dict(kernel_size=3), dict(kernel_size=1, groups=1)])
def test_other_convolutions_are_left_alone(arguments):
    channels = 4 if arguments["kernel_size"] == 3 else 16
    convolution = nn.Conv2d(channels, 8, stride=2, **arguments)
    to_channels_last(nn.Sequential(convolution))
    assert convolution.stride == (2, 2) and not convolution._forward_pre_hooks


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("ratio", [2, 4])
def test_the_atrous_twin_of_a_narrow_network_computes_the_same(ratio, copied):
    torch.manual_seed(0)
    network = SmallResNet(channels=(8, 9, 10, 12, 14)).eval()
    images = torch.rand(2, 3, 64, 96)
    expected = AtrousTwin(network, ratio)(images), network(images), cell_offsets(network)
    twin = AtrousTwin(to_channels_last(network), ratio)
    if copied:
        twin = copy.deepcopy(twin)
    found = twin(images), twin.backbone(images), cell_offsets(twin.backbone)
    torch.testing.assert_close(found[:2], expected[:2], rtol=1e-4, atol=1e-5)
    assert found[2] == expected[2]
    # Also where it is built anew: its backbone has other modules.
    twin.backbone.add_module("more", nn.Identity())
    torch.testing.assert_close(twin(images), expected[0], rtol=1e-4, atol=1e-5)
