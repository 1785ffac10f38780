import lowres_d2  # noqa: F401
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair
from lowres_d2.modeling.resample import LearnedDownsampler
from lowres_d2.modeling.teacher import Tap, Teacher

import pytest
import torch
import torch.nn.functional as F
from detectron2.utils.events import EventStorage
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from toys.detectors import fcos, training_input

VARIANTS = [
    (2, 1, None),
    (4, 1, None),
    (4, 2, None),
    (4, 5, None),
    (2, 2, None),
    (2, 2, (2, 1)),
    (3, 2, None),
]


@pytest.mark.parametrize(("factor", "layers", "strides"), VARIANTS)
def test_starts_as_a_box_filter_aligned_with_the_frames(factor, layers, strides):
    down = LearnedDownsampler(factor, layers, strides)
    image = torch.rand(3, 8 * factor, 6 * factor)
    expected = F.avg_pool2d(image[None], factor)[0]
    torch.testing.assert_close(down([image])[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("factor", "layers", "strides"), VARIANTS)
def test_of_more_channels_the_first_are_the_colours_and_none_is_dead(factor, layers, strides):
    torch.manual_seed(0)
    down = LearnedDownsampler(factor, layers, strides, out_channels=12)
    images = [torch.rand(3, 1, 1).expand(3, 8 * factor, 6 * factor) for _ in range(16)]
    wide = down(images)
    assert all(low.shape == (12, 8, 6) for low in wide)
    for image, low in zip(images, wide, strict=True):
        expected = F.avg_pool2d(image[None], factor)[0]
        torch.testing.assert_close(low[:3], expected, rtol=0, atol=1e-6)
    assert down.dead_channels(images) == []


@pytest.mark.parametrize("channels", [1, 2, 14])
@pytest.mark.parametrize(("factor", "layers", "strides"), VARIANTS)
def test_images_of_other_channels_start_box_filtered(factor, layers, strides, channels):
    image = torch.rand(channels, 6 * factor, 5 * factor)
    (low,) = LearnedDownsampler(factor, layers, strides, in_channels=channels)([image])
    torch.testing.assert_close(low, F.avg_pool2d(image[None], factor)[0], rtol=0, atol=1e-6)
    random = LearnedDownsampler(factor, layers, strides, "random", in_channels=channels)
    assert random([image])[0].shape == low.shape


@pytest.mark.parametrize(("factor", "layers", "strides"), VARIANTS)
def test_every_filter_changes_in_the_first_iterations(factor, layers, strides):
    torch.manual_seed(0)
    down = LearnedDownsampler(factor, layers, strides)
    side = 32 // factor
    images = torch.rand(2, 3, side * factor, side * factor)
    targets = torch.rand(2, 3, side, side)
    start = [p.detach().clone() for p in down.parameters()]
    optimizer = torch.optim.SGD(down.parameters(), lr=0.02)
    for _ in range(20):  # a layer needs non-zero weights before the one below has a gradient
        optimizer.zero_grad()
        (torch.stack(down(list(images))) - targets).square().sum().backward()
        optimizer.step()
    for before, after in zip(start, down.parameters(), strict=True):
        changed = (before != after).flatten(1).any(dim=1) if before.ndim > 1 else before != after
        assert changed[:3].all()
        assert changed.float().mean() > 0.7


def test_thumbnails_are_contiguous_whatever_the_layout_of_the_weights():
    down = LearnedDownsampler(4)
    image = torch.rand(3, 16, 24)
    expected = down([image])[0]
    (low_res,) = down.to(memory_format=torch.channels_last)([image])
    assert low_res.is_contiguous()
    torch.testing.assert_close(low_res, expected)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(4, 23), st.integers(4, 23)), min_size=1, max_size=4))
def test_images_are_downsampled_in_a_batch_like_alone(sizes):
    torch.manual_seed(1)
    down = LearnedDownsampler(4, init="random")
    images = [torch.rand(3, *size) for size in sizes]
    for image, together in zip(images, down(images), strict=True):
        torch.testing.assert_close(together, down([image])[0])


@pytest.mark.parametrize(("factor", "gmacs"), [(4, 0.09), (2, 1.0)])
def test_costs_at_800_by_1120_are_those_of_the_paper(factor, gmacs):
    down = LearnedDownsampler(factor)
    with FlopCounterMode(display=False) as counter:
        down([torch.zeros(3, 800, 1120)])
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=0.12)


def test_a_random_start_has_no_dead_colour_in_forty_seeds():
    images = [torch.rand(3, 1, 1).expand(3, 32, 32) for _ in range(16)]
    for seed in range(40):
        torch.manual_seed(seed)
        assert LearnedDownsampler(4, init="random").dead_channels(images) == []


def test_a_colour_with_a_very_negative_bias_is_reported_as_dead():
    down = LearnedDownsampler(4)
    with torch.no_grad():
        down.layers[-1].bias[1] = -2
    assert down.dead_channels([torch.rand(3, 16, 16), torch.rand(3, 8, 24)]) == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(factor=5), "there are 4x with 1, 4x with 2"),
        (dict(factor=2, layers=5), "there are 4x with 1, 4x with 2"),
        (dict(factor=2, strides=(2, 2)), "product is the factor 2"),
        (dict(factor=4, strides=(4,)), "expected 2 whose product"),
        (dict(init="zeros"), "expected 'box' or 'random'"),
        (dict(out_channels=1), "out_channels=1: expected at least 1, and at least as many"),
        (dict(in_channels=0), "in_channels=0"),
    ],
)
def test_an_unknown_variant_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        LearnedDownsampler(**arguments)
    assert "\n" not in str(caught.value)


def test_features_predicted_from_the_thumbnail_train_only_the_downsampler():
    detector = fcos()
    pair = FeaturePair(
        Tap("backbone.bottom_up.stem", call=0, side="input"),
        student_stride=1,
        teacher="backbone.bottom_up.res2",
        teacher_stride=4,
        channels=(3, 12),
    )
    model = LowResDetector(
        detector,
        LearnedDownsampler(4),
        Teacher(fcos(), checkpoint=None),
        [FeatureDistillation([pair], name="thumbnail")],
    )
    model.loss_terms.active = ["thumbnail"]
    with EventStorage():  # upstream's FCOS logs even without one
        losses = model([training_input(256, 192)])
    assert list(losses) == ["loss_thumbnail_stem_input"]
    sum(losses.values()).backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {name.split(".")[0] for name in trained} == {"resampler", "objectives"}
    assert "resampler.layers.0.weight" in trained
