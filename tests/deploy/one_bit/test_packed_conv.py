"""Packed convolutions against torch's of the same signs, on every path of this machine."""

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import PackedWeights, pack_bits, packed_conv, supported_paths

import pytest
import torch
import torch.nn.functional as F

LAST = torch.channels_last
# Images, channels in and out, height and width, kernel, stride, padding.
CASES = [
    (1, 64, 64, 8, 8, 3, 1, 1),
    (2, 3, 5, 9, 7, 3, 2, 1),
    (1, 130, 70, 5, 25, 5, 1, 2),
    (2, 33, 100, 12, 13, 7, 2, 3),
    (3, 256, 129, 7, 7, 1, 1, 0),
    (1, 512, 20, 4, 4, 3, 1, 1),
    (1, 1, 1, 1, 1, 3, 1, 1),
    (1, 4096, 48, 1, 9, 1, 1, 0),
    (1, 96, 48, 6, 6, 3, 1, 0),
    (2, 31, 17, 2, 3, 7, 1, 3),
]


@pytest.fixture(params=supported_paths())
def path(request, monkeypatch):
    monkeypatch.setenv("LOWRES_D2_ONE_BIT", request.param)
    return request.param


def signs_of(x):
    return torch.where(x >= 0, 1.0, -1.0)


def of_channels(x):
    return x.view(-1, 1, 1)


@pytest.mark.parametrize("layout", [LAST, torch.contiguous_format])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_products_of_signs_are_exact(path, case, layout):
    number, channels, outputs, height, width, kernel, stride, padding = case
    x = torch.randn(number, channels, height, width).contiguous(memory_format=layout)
    x[0, 0, 0, 0] = -0.0
    weights = torch.randn(outputs, channels, kernel, kernel)
    weights[0, 0, 0, 0] = 0.0
    packed = PackedWeights.pack(weights, padding)
    y, bits = packed_conv(pack_bits(x, padding=padding), packed, stride)
    assert bits is None and y.is_contiguous(memory_format=LAST)
    expected = F.conv2d(signs_of(x), signs_of(weights), stride=stride, padding=padding)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_follows_the_products_is_rounded_as_torch_rounds_it(path, case):
    number, channels, outputs, height, width, kernel, stride, padding = case
    x, weights = (
        torch.randn(number, channels, height, width),
        torch.randn(outputs, channels, kernel, kernel),
    )
    of_inputs = torch.randn(channels)
    scale, slope = torch.rand(2, outputs)
    shift, offset, thresholds = torch.randn(3, outputs)
    product = F.conv2d(
        signs_of(x - of_channels(of_inputs)), signs_of(weights), stride=stride, padding=padding
    )
    residual = torch.randn_like(product)
    y = product * of_channels(scale) + of_channels(shift) + residual
    y = torch.where(y < 0, y * of_channels(slope), y) + of_channels(offset)
    signs = signs_of(y - of_channels(thresholds))
    out = torch.full_like(y, 7.0).contiguous(memory_format=LAST)
    arguments = dict(
        stride=stride,
        scale=scale,
        shift=shift,
        residual=residual,
        slope=slope,
        offset=offset,
        next_padding=(2, 1),
        next_thresholds=thresholds,
    )
    bits, packed = pack_bits(x, of_inputs, padding), PackedWeights.pack(weights, padding)
    found, next_bits = packed_conv(bits, packed, out=out, **arguments)
    assert found is out
    torch.testing.assert_close(found, y, rtol=0, atol=0)
    torch.testing.assert_close(next_bits.signs(), signs, rtol=0, atol=0)
    torch.testing.assert_close(next_bits.words, pack_bits(y, thresholds, (2, 1)).words)
    nothing, only_bits = packed_conv(bits, packed, numbers=False, **arguments)
    assert nothing is None
    torch.testing.assert_close(only_bits.words, next_bits.words)


def test_bits_of_a_small_map(path):
    x = torch.tensor([[[[0.0, -1.0], [-0.0, 2.0]], [[float("nan"), 1.0], [-1e-45, 1e-45]]]])
    bits = pack_bits(x, padding=(1, 0))
    assert bits.words.tolist() == [[[[0], [0]], [[1], [2]], [[1], [3]], [[0], [0]]]]
    assert (bits.size, bits.border, bits.channels) == ((2, 2), (1, 0), 2)


def test_bit_31_and_the_channel_after_it(path):
    x = -torch.ones(1, 33, 1, 2)
    x[0, 31:, 0, 1] = 1
    assert pack_bits(x).words.tolist() == [[[[0, 0], [-(2**31), 1]]]]


def test_a_border_may_be_wider_than_the_padding(path):
    x, weights = torch.randn(1, 40, 6, 7), torch.randn(20, 40, 3, 1)
    expected = F.conv2d(signs_of(x), signs_of(weights), stride=(2, 3), padding=(1, 0))
    y, _ = packed_conv(pack_bits(x, padding=(3, 2)), PackedWeights.pack(weights, (1, 0)), (2, 3))
    torch.testing.assert_close(y, expected, rtol=0, atol=0)


def test_no_image(path):
    y, bits = packed_conv(
        pack_bits(torch.zeros(0, 8, 4, 4), padding=1),
        PackedWeights.pack(torch.ones(3, 8, 3, 3), 1),
        next_padding=1,
    )
    assert (y.shape, bits.words.shape) == ((0, 3, 4, 4), (0, 6, 6, 1))


def test_half_precision_is_taken(path):
    x = torch.randn(1, 32, 3, 3)
    for dtype in (torch.bfloat16, torch.float16):
        words = pack_bits(x.to(dtype)).words
        torch.testing.assert_close(words, pack_bits(x.to(dtype).float()).words)


def test_threads_change_nothing(path):
    x, weights = torch.randn(2, 128, 40, 40), torch.randn(200, 128, 3, 3)
    row, matrix = torch.randn(1, 2048, 1, 3), torch.randn(1024, 2048, 1, 1)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            bits = pack_bits(x, padding=1)
            found.append(packed_conv(bits, PackedWeights.pack(weights, 1), next_padding=1))
            found[-1] += packed_conv(pack_bits(row), PackedWeights.pack(matrix))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert torch.equal(others[0], found[0][0]) and torch.equal(others[2], found[0][2])
        assert torch.equal(others[1].words, found[0][1].words)


def test_weights_take_a_bit():
    weights = torch.randn(128, 64, 3, 3)
    packed = PackedWeights.pack(weights, 1)
    assert packed.words.nbytes * 8 == weights.numel()
    torch.testing.assert_close(packed.signs(), signs_of(weights))


def test_offsets_are_of_the_ways_out_of_the_image():
    packed = PackedWeights.pack(torch.tensor([[[[1.0, -1.0, 1.0]]], [[[-1.0, -1.0, 1.0]]]]), (0, 1))
    assert packed.offsets.shape == (1, 1, 2, 2, 16)
    # Columns inside, and 2 for each 1 outside: none, right, left, both.
    assert packed.offsets[0, 0, ..., :2].tolist() == [[[3, 3], [4, 4]], [[4, 2], [5, 3]]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"bits": pack_bits(torch.ones(1, 4, 5, 5), padding=1)},
            "of 4 channels, weights for 3",
        ),
        ({"bits": pack_bits(torch.ones(1, 3, 5, 5), padding=(1, 0))}, r"border \(1, 0\)"),
        ({"scale": torch.ones(3)}, r"scale: expected 2 numbers, got shape \(3,\)"),
        ({"next_thresholds": torch.ones(5)}, "thresholds: expected 2 numbers"),
        ({"residual": torch.ones(1, 2, 4, 5)}, r"residual of shape \(1, 2, 4, 5\)"),
        ({"out": torch.ones(1, 2, 5, 6)}, "out of shape"),
    ],
    ids=["channels", "border", "scale", "thresholds", "residual", "out"],
)
def test_what_does_not_fit_is_named(path, change, message):
    arguments = {
        "bits": pack_bits(torch.ones(1, 3, 5, 5), padding=1),
        "weights": PackedWeights.pack(torch.ones(2, 3, 3, 3), 1),
    }
    with pytest.raises(ValueError, match=message):
        packed_conv(**{**arguments, **change})


def test_memory_in_another_order_is_refused(path):
    bits, weights = pack_bits(torch.ones(1, 3, 5, 5)), PackedWeights.pack(torch.ones(2, 3, 1, 1))
    with pytest.raises(ValueError, match="out: expected float32, channels last"):
        packed_conv(bits, weights, out=torch.empty(1, 2, 5, 5))


def test_a_kernel_larger_than_the_map_is_refused(path):
    bits, weights = pack_bits(torch.ones(1, 3, 2, 5)), PackedWeights.pack(torch.ones(2, 3, 3, 3))
    with pytest.raises(ValueError, match=r"a map of \(2, 5\) is smaller than the kernel \(3, 3\)"):
        packed_conv(bits, weights)


def test_padding_beyond_the_kernel_is_refused():
    with pytest.raises(ValueError, match=r"padding \(0, 3\) of a kernel of \(1, 3\)"):
        PackedWeights.pack(torch.ones(2, 3, 1, 3), (0, 3))
