"""What reaches the C core fits the sizes that it is told; what does not is refused in words."""

import dataclasses

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import (
    PackedBits,
    PackedConv2d,
    PackedWeights,
    binding,
    library,
    pack,
    pack_bits,
    packed_conv,
    supported_paths,
)
from lowres_d2.deploy.one_bit.stem import FusedStem
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedSign
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized

import pytest
import torch
from torch import nn
from torch.func import functional_call

needs_core = pytest.mark.skipif(library.library() is None, reason="no compiler")


def network(**options):
    torch.manual_seed(0)
    backbone = SmallShortcutResNet((16, 16, 24, 24, 32), **options)
    return binarized(backbone, ["first", "shortcuts"]).eval()


def outputs(model, x):
    found = model(x)
    return torch.cat([level.flatten() for level in found.values()])


@pytest.fixture(params=supported_paths())
def path(request, monkeypatch):
    monkeypatch.setenv("LOWRES_D2_ONE_BIT", request.param)
    return request.param


@pytest.mark.parametrize(("own", "given"), [(1, 3), (3, 1), (3, 4)])
def test_images_of_other_channels_are_refused_by_a_stem(path, own, given):
    same = pack(network(in_channels=own))
    assert any(isinstance(module, FusedStem) for module in same.modules())
    with pytest.raises(
        ValueError, match=f"images of {given} channels, weights of shape .*, {own}, 3, 3"
    ):
        same(torch.zeros(1, given, 32, 32))


@needs_core
@pytest.mark.parametrize("size", [torch.tensor(1), torch.tensor(1.0)])
def test_an_address_is_never_taken_for_a_size(size):
    with pytest.raises(TypeError, match="incompatible types"):
        binding.pack("scalar", images=size, bits=torch.zeros(1, dtype=torch.int32))


@pytest.mark.parametrize(
    "words",
    [
        torch.zeros(1, 2, 2, 2, dtype=torch.int32),
        torch.zeros(1, 2, 3, 2, dtype=torch.int32).transpose(2, 3),
    ],
    ids=["number", "order"],
)
def test_words_are_those_of_the_channels(words):
    with pytest.raises(ValueError, match="bits of 70 channels: expected contiguous int32, 3 in"):
        PackedBits(words, 70, (0, 0))


@pytest.mark.parametrize("name", ["words", "offsets"])
def test_packed_weights_fit_their_shape(name):
    weights = PackedWeights.pack(torch.ones(3, 40, 3, 3), 1)
    assert (weights.words.shape, weights.offsets.shape) == ((288,), (2, 2, 2, 2, 16))
    changed = getattr(weights, name)[..., :-1]
    with pytest.raises(ValueError, match=f"{name} of packed weights of shape .3, 40, 3, 3.: expec"):
        dataclasses.replace(weights, **{name: changed})


@pytest.mark.parametrize("name", ["residual", "out"])
def test_tensors_on_another_device(path, name):
    bits, weights = pack_bits(torch.ones(1, 3, 5, 5)), PackedWeights.pack(torch.ones(2, 3, 1, 1))
    elsewhere = torch.empty(1, 2, 5, 5, device="meta")
    with pytest.raises(ValueError, match=f"{name} on meta, bits on cpu"):
        packed_conv(bits, weights, **{name: elsewhere})


def test_thresholds_are_those_of_the_channels(path):
    with pytest.raises(ValueError, match=r"thresholds: expected 3 numbers, got shape \(1,\)"):
        pack_bits(torch.zeros(1, 3, 2, 2), torch.zeros(1))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated")
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (BinaryConv2d(40, 5, 3), (1, 40, 6, 6)),
        (BinaryLinear(40, 5), (2, 40)),
        (network(), (1, 3, 32, 32)),
    ],
    ids=["convolution", "fully connected", "network"],
)
def test_tracing_and_exporting_are_refused(path, model, shape):
    same, x = pack(model), torch.zeros(shape)
    with pytest.raises(ValueError, match="packed layers cannot be traced or exported"):
        torch.jit.trace(same, (x,))
    with pytest.raises(ValueError, match="packed layers cannot be traced or exported"):
        torch.export.export(same, (x,), strict=False)


def test_no_gradient_is_needed_and_none_is_given(path):
    model = network()
    same, x = pack(model), torch.randn(1, 3, 64, 64)
    assert not any(parameter.requires_grad for parameter in same.parameters())
    with torch.no_grad():
        expected = outputs(model, x)
    for given in (x, x.clone().requires_grad_()):
        found = outputs(same, given)
        assert not found.requires_grad
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(outputs(same, x), expected, rtol=1e-5, atol=1e-5)


def test_a_batch_without_images(path):
    model, x = network(), torch.zeros(0, 3, 64, 64)
    with torch.no_grad():
        expected, found = model(x), pack(model)(x)
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(path, dtype):
    rounded = network().to(dtype)
    x = torch.randn(1, 3, 64, 64)
    expected = outputs(pack(rounded.float()), x)
    same = pack(rounded.to(dtype))
    for given in (x, x.to(dtype)):
        found = outputs(same, given)
        assert found.dtype == torch.float32
        if given is x:
            assert torch.equal(found, expected)


@pytest.mark.parametrize("layer", [BinaryConv2d(8, 8, 3), BinaryLinear(8, 8)])
def test_a_packed_layer_stays_in_float32(layer):
    same = pack(nn.Sequential(layer))
    assert same.float() is same
    with pytest.raises(ValueError, match=r"packed layers compute in float32: torch\.float16"):
        same.half()


@pytest.mark.parametrize("quantizer", [None, ShiftedSign(40)], ids=["sign", "shifted"])
def test_weights_that_stand_in_for_a_call(path, quantizer):
    torch.manual_seed(0)
    first, second = (BinaryConv2d(40, 5, 3, input_quantizer=quantizer) for _ in range(2))
    same, other, x = pack(first), pack(second), torch.randn(1, 40, 6, 6)
    own = same(x)
    assert torch.equal(functional_call(same, dict(other.state_dict()), (x,)), other(x))
    assert torch.equal(same(x), own) and not torch.equal(own, other(x))


def test_bits_that_change_in_place():
    layer = BinaryConv2d(8, 5, 3, bias=False)
    same, x = pack(layer), torch.randn(1, 8, 6, 6)
    own = same(x)
    same.bits.bitwise_not_()
    assert isinstance(same, PackedConv2d) and torch.equal(same(x), -own)
