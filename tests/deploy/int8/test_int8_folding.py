"""What is folded into a convolution, and what stays as it is."""

from lowres_d2.deploy.int8 import folded
from lowres_d2.modeling.one_bit import ShortcutTower

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, CycleBatchNormList, FrozenBatchNorm2d, NaiveSyncBatchNorm
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

CHANNELS = 4


def conv(**kwargs):
    return Conv2d(CHANNELS, CHANNELS, 3, padding=1, **kwargs)


def norm(kind=nn.BatchNorm2d, **kwargs):
    made = kind(CHANNELS, **kwargs)
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2) if name == "running_var" else tensor.normal_()
    return made


def two_norms_of_one_convolution():
    one = conv()
    return nn.Sequential(one, norm(), nn.ReLU(), one, norm())


def one_weight_of_two_convolutions():
    first, second = conv(norm=norm()), conv(norm=norm())
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second)


class NormWithActivation(nn.BatchNorm2d):
    def forward(self, x):
        return F.silu(super().forward(x))


class ConvolutionOfDoubles(nn.Conv2d):
    def forward(self, x):
        return super().forward(2 * x) + 1


class SumOfBoth(nn.Sequential):
    def forward(self, x):
        return self[0](x) + self[1](x)


class SequenceWithName(nn.Sequential):
    """Runs in order, as torchvision's and timm's do."""


class NormInFront(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = conv(), norm()

    def forward(self, x):
        return self.conv(self.norm(x))


def hooked():
    made = nn.Sequential(conv(), norm())
    made[0].register_forward_hook(lambda module, inputs, output: F.relu(output))
    return made


FOLDED = {
    "sequence": lambda: nn.Sequential(conv(), norm(), nn.ReLU()),
    "plain convolution": lambda: nn.Sequential(nn.Conv2d(CHANNELS, 6, 3), nn.BatchNorm2d(6)),
    "named sequence": lambda: SequenceWithName(conv(), norm()),
    "tower with shortcuts": lambda: ShortcutTower(conv(), norm(), nn.ReLU()),
    "wrapper": lambda: conv(norm=norm(), activation=F.relu),
    "frozen": lambda: conv(norm=norm(FrozenBatchNorm2d)),
    "synchronised": lambda: nn.Sequential(conv(norm=norm(NaiveSyncBatchNorm))),
    "circular": lambda: nn.Sequential(conv(padding_mode="circular"), norm()),
    "without affine": lambda: nn.Sequential(conv(bias=False), norm(affine=False)),
    "shared weight": one_weight_of_two_convolutions,
}
LEFT = {
    "convolution used twice": two_norms_of_one_convolution,
    "norm with activation": lambda: nn.Sequential(conv(), norm(NormWithActivation)),
    "norm with activation in wrapper": lambda: conv(norm=norm(NormWithActivation)),
    "activation in between": lambda: nn.Sequential(conv(activation=F.relu), norm()),
    "group norm in between": lambda: nn.Sequential(conv(norm=nn.GroupNorm(2, CHANNELS)), norm()),
    "without statistics": lambda: nn.Sequential(conv(), norm(track_running_stats=False)),
    "without statistics in wrapper": lambda: conv(norm=norm(track_running_stats=False)),
    "norm in front": NormInFront,
    "other convolution": lambda: nn.Sequential(ConvolutionOfDoubles(CHANNELS, CHANNELS, 1), norm()),
    "other sequence": lambda: SumOfBoth(conv(), norm()),
    "hook": hooked,
    "weight norm": lambda: nn.Sequential(weight_norm(conv()), norm()),
    "spectral norm": lambda: nn.Sequential(spectral_norm(conv()), norm()),
    "parametrized": lambda: nn.Sequential(parametrizations.weight_norm(conv()), norm()),
}


@torch.no_grad()
def compare(module, is_folded):
    x = torch.randn(2, CHANNELS, 6, 7)
    found = folded(module)
    torch.testing.assert_close(found(x), module.eval()(x), rtol=1e-4, atol=1e-4)
    kinds = nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d
    assert any(isinstance(x, kinds) for x in found.modules()) != is_folded


@pytest.mark.parametrize("name", FOLDED)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_norms_are_part_of_convolutions(name):
    torch.manual_seed(0)
    compare(FOLDED[name](), True)


@torch.no_grad()  # in which torch can copy its weight_norm
@pytest.mark.parametrize("name", LEFT)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_norms_that_cannot_be_folded_stay(name):
    torch.manual_seed(0)
    compare(LEFT[name](), False)


@torch.no_grad()
def test_a_norm_that_stays_is_the_one_of_its_level():
    torch.manual_seed(0)
    levels = CycleBatchNormList(3, num_features=CHANNELS)
    for each in levels:
        each.running_mean.normal_()
    module = nn.Sequential(conv(activation=F.relu), levels).eval()
    x = torch.randn(2, CHANNELS, 6, 7)
    expected = [module(x) for _ in levels]
    for level, right in enumerate(expected):
        found = folded(module, level)
        for _ in range(2):
            torch.testing.assert_close(found(x), right)
