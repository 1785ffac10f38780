"""PSNR and SSIM against another computation: scipy, pixel by pixel, in float64."""

import math

from lowres_d2.evaluation.super_resolution.similarity import luminance, psnr, ssim

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from scipy.signal.windows import gaussian


def pairs(size, number=2, channels=3, seed=0):
    random = np.random.default_rng(seed)
    targets = random.random((number, channels, *size))
    noise = 0.1 * random.standard_normal(targets.shape)
    return np.clip(targets + noise, 0, 1), targets


def reference_ssim(a, b, side=11):
    """Of one channel, as the authors' ssim_index.m computes it."""
    line = gaussian(side, 1.5)
    window = np.outer(line, line) / line.sum() ** 2

    def mean(values):
        return convolve2d(values, window, mode="valid")

    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    covariance = mean(a * b) - mu_a * mu_b
    top = (2 * mu_a * mu_b + 0.0001) * (2 * covariance + 0.0009)
    return (top / ((mu_a**2 + mu_b**2 + 0.0001) * (var_a + var_b + 0.0009))).mean()


@pytest.mark.parametrize(("size", "side"), [((16, 19), 11), ((11, 11), 11), ((8, 30), 7)])
def test_ssim_is_that_of_the_reference(size, side):
    images, targets = pairs(size)
    expected = [
        np.mean([reference_ssim(a, b, side) for a, b in zip(image, target, strict=True)])
        for image, target in zip(images, targets, strict=True)
    ]
    found = ssim(torch.from_numpy(images), torch.from_numpy(targets))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_psnr_is_that_of_the_formula():
    images, targets = pairs((5, 7))
    expected = [
        10 * math.log10(1 / np.mean((a - b) ** 2)) for a, b in zip(images, targets, strict=True)
    ]
    found = psnr(torch.from_numpy(images), torch.from_numpy(targets))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # A tenth of the range everywhere: -10 log10 of 0.01.
    flat = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(flat, flat + 0.1).item() == pytest.approx(20, abs=1e-4)


def test_equal_images_have_finite_values():
    images = torch.rand(2, 3, 12, 12)
    assert psnr(images, images).tolist() == [100, 100]
    assert ssim(images, images).tolist() == pytest.approx([1, 1])
    one = torch.rand(1, 3, 1, 1, dtype=torch.float64)
    assert ssim(one, one).item() == pytest.approx(1)


def test_luminance_is_that_of_bt601():
    ends = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0, 1, 0]]).view(3, 3, 1, 1)
    found = 255 * luminance(ends).flatten()
    assert found.tolist() == pytest.approx([16, 235, 144.553], abs=1e-3)
