"""The stem in one pass, and shortcuts as products of matrices, against torch."""

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import supported_paths
from lowres_d2.deploy.one_bit.blocks import projected
from lowres_d2.deploy.one_bit.folding import fold_norms
from lowres_d2.deploy.one_bit.stem import FusedStem, stem_of
from lowres_d2.modeling.backbone import PReLUStem

import pytest
import torch
from detectron2.layers import Conv2d
from torch import nn


def trained_stem(**options):
    torch.manual_seed(0)
    stem = PReLUStem(**options).eval()
    stem.conv1.norm.running_mean.uniform_(-1, 1)
    stem.prelu.weight.data.uniform_(-1, 1)
    return stem


@pytest.mark.parametrize("path", supported_paths())
@pytest.mark.parametrize(
    ("options", "size"),
    [
        (dict(), (65, 50)),
        (dict(), (130, 200)),
        (dict(out_channels=16, kernel_size=3, pooled=False), (31, 77)),
        (dict(in_channels=1, out_channels=80, kernel_size=5), (1, 1)),
        (dict(in_channels=4, out_channels=96, kernel_size=1), (2, 3)),
    ],
)
@torch.no_grad()
def test_a_stem_in_one_pass(path, options, size, monkeypatch):
    monkeypatch.setenv("LOWRES_D2_ONE_BIT", path)
    stem, x = trained_stem(**options), torch.randn(2, options.get("in_channels", 3), *size)
    expected = stem(x)
    fold_norms(stem)
    fused = stem_of(stem)
    assert fused.state_dict().keys() == stem.state_dict().keys()
    for memory_format in (torch.channels_last, torch.contiguous_format):
        found = fused(x.contiguous(memory_format=memory_format))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_nan_reaches_the_output_of_a_stem():
    stem = trained_stem()
    fold_norms(stem)
    x = torch.randn(1, 3, 64, 64)
    x[0, 0, 20, 20] = torch.nan
    assert torch.equal(stem_of(stem)(x).isnan(), stem(x).isnan())


def test_other_stems_stay_as_they_are():
    stem = trained_stem(out_channels=24)
    fold_norms(stem)
    assert stem_of(stem) is None  # no multiple of 16
    assert stem_of(trained_stem()) is None  # its norm is not folded
    assert stem_of(nn.Identity()) is None
    known = trained_stem()
    fold_norms(known)
    assert isinstance(stem_of(known), FusedStem)


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_a_shortcut_is_a_product_of_matrices(bias):
    layer, x = Conv2d(5, 7, 1, bias=bias), torch.randn(2, 5, 60, 61)
    x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(projected(x, layer), layer(x))
