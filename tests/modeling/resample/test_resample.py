from __future__ import annotations

from fractions import Fraction

from lowres_d2.modeling.resample import Bicubic, DownUp, Identity, Resampler

import pytest
import torch
from torch import nn

SIZES = [(16, 16), (17, 31), (64, 48), (33, 20), (17, 31)]


def _images(sizes=SIZES):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in sizes]


class TwoConvolutions(Resampler):
    """A learned resampler by 4."""

    def __init__(self):
        super().__init__(4)
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), nn.Conv2d(5, 3, 3, 2, 1))

    def resample(self, images):
        return self.body(images)


@pytest.mark.parametrize("resampler", [Identity(), Bicubic(4), Bicubic("3/2"), DownUp(3)], ids=str)
def test_images_are_resampled_in_a_batch_like_alone(resampler):
    together = resampler(_images())
    for image, result in zip(_images(), together, strict=True):
        assert torch.equal(resampler([image])[0], result)


def test_a_learned_resampler_resamples_in_a_batch_like_alone():
    resampler = TwoConvolutions()
    for image, result in zip(_images(), resampler(_images()), strict=True):
        torch.testing.assert_close(resampler([image])[0], result, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4, "3/2", "7/5"])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_follow_the_frame(factor, size):
    (result,) = Bicubic(factor)(_images([size]))
    exact = Fraction(factor)
    expected = [-(-side // exact.numerator) * exact.denominator for side in size]
    assert list(result.shape) == [3, *expected]


@pytest.mark.parametrize("factor", [2, 4, "3/2", "4/3"])
def test_bicubic_is_aligned_with_the_frame(factor):
    # A pixel of a ramp is the coordinate of its centre; after downsampling, in the new frame.
    length = 48
    ramp = ((torch.arange(length) + 0.5) / length).expand(1, length, length)
    resampler = Bicubic(factor)
    (result,) = resampler([ramp])
    expected = (torch.arange(result.shape[-1]) + 0.5) * float(resampler.factor) / length
    middle = slice(4, -4)
    # A sampled kernel keeps ramps exactly only if it is symmetric; otherwise 0.03 px are allowed.
    atol = 1e-6 if resampler.factor.denominator == 1 else 0.03 / length
    torch.testing.assert_close(result[0, 8, middle], expected[middle], rtol=0, atol=atol)


def test_bicubic_is_antialiased_and_stays_in_range():
    stripes = torch.zeros(1, 32, 32)
    stripes[..., ::2] = 1
    (result,) = Bicubic(4)([stripes])
    assert (result[..., 2:-2] - 0.5).abs().max() < 0.05
    edge = torch.zeros(1, 32, 32)
    edge[..., 14:] = 1
    (result,) = Bicubic(2)([edge])
    assert result.min() >= 0 and result.max() <= 1


@pytest.mark.parametrize("factor", [2, 3, "5/2"])
def test_down_up_keeps_size_and_frame_and_loses_detail(factor):
    images = _images()
    resampler = DownUp(factor)
    assert resampler.factor == 1
    for image, result in zip(images, resampler(images), strict=True):
        assert result.shape == image.shape
        assert result.var() < 0.5 * image.var()
    ramp = ((torch.arange(60) + 0.5) / 60).expand(1, 60, 60)
    middle = slice(12, -12)
    torch.testing.assert_close(
        resampler([ramp])[0][..., middle], ramp[..., middle], rtol=0, atol=0.03 / 60
    )


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "box"])
@pytest.mark.parametrize("factor", [2, 4])
def test_every_interpolation_of_down_up_is_aligned(factor, interpolation):
    resampler = DownUp(factor, interpolation)
    image = _images([(32, 32)])[0]
    (degraded,) = resampler([image])
    for axis in (1, 2):  # one that is off by part of a pixel is off to the other side in a mirror
        (mirrored,) = resampler([image.flip(axis)])
        torch.testing.assert_close(mirrored.flip(axis), degraded, rtol=0, atol=1e-6)
    # A dot in the middle of a low-resolution pixel, whose centre stays where it is.
    dot = torch.zeros(1, 32, 32)
    first = 16 + factor // 2 - 1
    dot[:, first : first + 2, first : first + 2] = 1
    (spread,) = resampler([dot])
    places = torch.arange(32) + 0.5
    assert (spread.sum(1) @ places / spread.sum()).item() == pytest.approx(first + 1, abs=1e-3)


def test_down_up_by_boxes_is_the_mean_of_blocks_in_numpy():
    image = _images([(8, 12)])[0]
    means = image.numpy().reshape(3, 2, 4, 3, 4).mean(axis=(2, 4))
    expected = means.repeat(4, axis=1).repeat(4, axis=2)
    (degraded,) = DownUp(4, "box")([image])
    torch.testing.assert_close(degraded, torch.from_numpy(expected))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((2, "cubic"), "interpolation='cubic': expected"), (("3/2", "box"), "expected a whole")],
)
def test_bad_interpolations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DownUp(*arguments)


@pytest.mark.parametrize("resampler", [Bicubic(4), DownUp(4)], ids=str)
def test_an_image_smaller_than_the_factor_is_one_line(resampler):
    with pytest.raises(ValueError, match=r"3x2.*smaller than the factor 4") as error:
        resampler([torch.rand(3, 3, 2)])
    assert "\n" not in str(error.value)


def test_a_resampler_that_breaks_its_factor_is_named():
    class Wrong(Resampler):
        def resample(self, images):
            return images[..., ::3, ::3]

    with pytest.raises(ValueError, match=r"Wrong made \(6, 6\).*asks for \(4, 4\)"):
        Wrong(4)([torch.rand(3, 16, 16)])


def test_identity_returns_the_images_themselves():
    images = _images()
    assert all(a is b for a, b in zip(Identity()(images), images, strict=True))


@pytest.mark.parametrize("resampler", [Bicubic(2), DownUp(2)])
def test_bicubic_keeps_an_images_range_where_it_exceeds_colours(resampler):
    thumbnail = torch.full((3, 8, 8), 1.25)  # as a learned downsampler may make it
    thumbnail[:, :, :4] = -0.5
    edge = torch.zeros(3, 8, 8)
    edge[:, :, 4:] = 1
    found, colours = resampler([thumbnail, edge])  # of one size, and each as if alone
    assert found.max() == 1.25 and found.min() == -0.5
    assert colours.max() == 1 and colours.min() == 0  # overshoot is still cut off
