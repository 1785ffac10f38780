"""Interpolation by convolutions, of which exported graphs are made, is torch's own."""

from fractions import Fraction

from lowres_d2.modeling.resample.as_convolution import convolved

import pytest
import torch
import torch.nn.functional as F

FACTORS = ["4", "3", "2", "1", "3/2", "5/3", "9/4", "1/4", "2/3"]


@pytest.mark.parametrize("factor", [Fraction(f) for f in FACTORS], ids=FACTORS)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_it_is_the_antialiased_interpolation(factor, interpolation):
    # One result is the edge on both sides; of seven by three some see no edge.
    for rows, columns in ((1, 1), (1, 5), (7, 3)):
        size = rows * factor.denominator, columns * factor.denominator
        shape = 2, 3, rows * factor.numerator, columns * factor.numerator
        image = torch.rand(shape, dtype=torch.float64)
        expected = F.interpolate(image, size, mode=interpolation, antialias=True)
        torch.testing.assert_close(
            convolved(image, factor, interpolation), expected, rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("factor", [Fraction(4), Fraction(1, 4)], ids=str)
def test_a_box_is_the_mean_of_a_block_or_repeated_over_it(factor):
    image = torch.rand(2, 3, 8, 12)
    expected = F.interpolate(image, (int(8 / factor), int(12 / factor)), mode="area")
    torch.testing.assert_close(convolved(image, factor, "box"), expected)
