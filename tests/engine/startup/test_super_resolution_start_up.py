from lowres_d2.analysis.matching.match_report import GroundTruth
from lowres_d2.engine.startup.super_resolution import describe_super_resolution

import pytest
import torch
from torch import nn

from toys.super_resolution import super_resolution


def truth(*sides):
    boxes = torch.tensor([[0, 0, side, side] for side in sides], dtype=torch.float32)
    return GroundTruth((100, 100), boxes.reshape(-1, 4))


def described(*images, **settings):
    model = nn.Sequential(super_resolution("faster_rcnn_fpn", **settings))
    return describe_super_resolution(model, images)


def test_shares_of_small_objects_and_of_those_that_can_teach():
    # Small: under 24 px. They teach from 12 px on, and up to 48 px, which is 24 px when halved.
    text, warning = described(truth(8, 20, 30, 40), truth(), truth(60))
    assert "40 % of the objects are small (area under max_area 24^2)" in text
    assert "60 % can teach (from min_target_area 12^2 on, and small once downsampled 2x)" in text
    assert not warning


def test_further_ratios_have_further_teachers():
    text, _ = described(truth(14, 30, 60, 100), ratios=(2, 4))
    assert "50 % can teach" in text and "downsampled 2x, 4x" in text


def test_without_supervision_nothing_teaches():
    text, warning = described(truth(8), supervision="none")
    assert text.startswith("super-resolution: 100 % of the objects are small") and not warning
    assert "teach" not in text


@pytest.mark.parametrize(("side", "said"), [(60, "no object is small"), (8, "no object can teach")])
def test_data_that_leave_nothing_to_learn_are_warned_of(side, said):
    _, warning = described(truth(side))
    assert warning.startswith(said)


def test_other_models_and_images_without_objects_say_nothing():
    assert describe_super_resolution(nn.Linear(1, 1), [truth(8)]) == ("", "")
    assert described(truth()) == ("", "")
