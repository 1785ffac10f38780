import lowres_d2  # noqa: F401
from lowres_d2.analysis.cost.accuracy_drop import accuracy_drop_gain, accuracy_drop_rate

import pytest

FULL = 43.8  # ThumbDet, COCO val, Deformable DETR R50


# Factor, bicubic, ThumbDet: AP; then drop rates by hand.
@pytest.mark.parametrize(
    "bicubic, method, drop_bicubic, drop_method",
    [
        pytest.param(29.1, 32.3, 1470 / 43.8, 1150 / 43.8, id="4x"),
        pytest.param(38.6, 41.6, 520 / 43.8, 220 / 43.8, id="2x"),
    ],
)
def test_drop_rates_and_gain_of_the_paper(bicubic, method, drop_bicubic, drop_method):
    assert accuracy_drop_rate(FULL, bicubic) == pytest.approx(drop_bicubic)
    assert accuracy_drop_rate(FULL, method) == pytest.approx(drop_method)
    gain = accuracy_drop_gain(FULL, bicubic, method)
    assert gain == pytest.approx(drop_bicubic - drop_method)
    assert gain == pytest.approx(100 * (method - bicubic) / FULL)


def test_drop_rate_is_0_for_no_loss_and_negative_for_a_gain_and_needs_a_positive_ap():
    assert accuracy_drop_rate(30, 30) == 0
    assert accuracy_drop_rate(30, 0) == 100
    assert accuracy_drop_rate(30, 33) == pytest.approx(-10)
    with pytest.raises(ValueError, match="full-resolution AP 0"):
        accuracy_drop_rate(0, 0)
