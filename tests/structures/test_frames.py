from __future__ import annotations

from fractions import Fraction

from lowres_d2.structures import (
    as_factor,
    check_factor_fits,
    low_res_size,
    pad_to_factor,
    padded_size,
)

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

FACTORS = st.fractions(min_value=Fraction(1, 3), max_value=8, max_denominator=5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, 2), ("3/2", Fraction(3, 2)), (1.5, Fraction(3, 2)), ("4", 4), (Fraction(5, 3),) * 2],
)
def test_exact_values_are_taken(value, expected):
    assert as_factor(value) == expected


@pytest.mark.parametrize(
    "value", [0, -2, "two", "1/0", 0.1, 4 / 3, float("nan"), float("inf"), True, None, [2]]
)
def test_a_bad_factor_is_named_in_one_line(value):
    with pytest.raises(ValueError, match="factor=") as error:
        as_factor(value)
    assert "\n" not in str(error.value)


def test_an_inexact_float_comes_with_the_fraction_that_was_meant():
    with pytest.raises(ValueError, match="'4/3'"):
        as_factor(1.3333333333)


def test_an_image_smaller_than_the_factor_is_refused():
    check_factor_fits((1, 4), Fraction(4))
    with pytest.raises(ValueError, match=r"3x2.*smaller than the factor 4"):
        check_factor_fits((3, 2), Fraction(4))


@given(FACTORS, st.integers(8, 500), st.integers(8, 500))
def test_low_resolution_pixels_tile_the_padded_image_exactly(factor, height, width):
    padded = padded_size((height, width), factor)
    low_res = low_res_size((height, width), factor)
    for length, whole, cells in zip((height, width), padded, low_res, strict=True):
        assert cells * factor == whole
        assert 0 <= whole - length < factor.numerator


def test_padding_repeats_the_last_row_and_column():
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    padded = pad_to_factor(image, Fraction(4, 3))
    assert padded.shape == (1, 1, 4, 8)
    assert torch.equal(padded[..., :3, :5], image)
    assert (padded[..., 3, :5] == image[..., 2, :]).all()
    assert (padded[0, 0, :3, 5:] == image[0, 0, :, 4:]).all()
