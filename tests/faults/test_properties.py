"""Properties that hold for any input: frames, feature maps, resamplers and the evaluator.

Boxes are XYXY where ``Boxes`` holds them, XYWH in COCO's form; sizes are (height, width).
"""

import contextlib
import io
import math
from fractions import Fraction

from lowres_d2.evaluation.coco_engine import COCO_IOU_THRESHOLDS, score_boxes
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.modeling.resample import Bicubic, DownUp, LearnedDownsampler
from lowres_d2.structures import (
    FeatureMap,
    drop_small,
    fit_instances,
    low_res_size,
    pad_to_factor,
    scale_instances,
)

import numpy as np
import pytest
import torch
import torchvision
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

some = settings(max_examples=25, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
FACTORS = st.fractions(min_value=1, max_value=6, max_denominator=4)
SIDES = st.integers(8, 40)
SIZES = st.tuples(SIDES, SIDES)


def boxes_in(size, count, seed, beyond=0.0):
    """Random XYXY boxes of an image, reaching out of it by at most a share of its sides."""
    generator = np.random.default_rng(seed)
    height, width = size
    corners = generator.uniform(-beyond, 1 + beyond, (count, 2, 2)) * (width, height)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return torch.tensor(boxes, dtype=torch.float32)


def instances_of(boxes, size):
    found = Instances(size)
    found.gt_boxes = Boxes(boxes.clone())
    found.gt_classes = torch.arange(len(boxes))
    return found


@some
@given(SEEDS, FACTORS, SIZES)
def test_boxes_scaled_there_and_back_are_the_same(seed, factor, size):
    boxes = boxes_in(size, 20, seed)
    low_res = low_res_size(size, factor)
    there = scale_instances(instances_of(boxes, size), factor, low_res)
    back = scale_instances(there, 1 / factor, size)
    assert there.image_size == low_res and back.image_size == size
    torch.testing.assert_close(back.gt_boxes.tensor, boxes, rtol=1e-6, atol=0)
    if factor in (1, 2, 4):
        assert torch.equal(back.gt_boxes.tensor, boxes)


@some
@given(SEEDS, FACTORS, SIZES)
def test_overlaps_do_not_depend_on_the_frame(seed, factor, size):
    boxes = boxes_in(size, 20, seed)
    scaled = scale_instances(instances_of(boxes, size), factor, low_res_size(size, factor))
    before, after = (torchvision.ops.box_iou(b, b) for b in (boxes, scaled.gt_boxes.tensor))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)


@some
@given(SEEDS, SIZES, SIZES)
def test_detections_fitted_to_an_image_lie_in_it_and_fit_for_good(seed, size, wanted):
    boxes = boxes_in(size, 20, seed, beyond=0.5)
    fitted = fit_instances(instances_of(boxes, size), size, wanted)
    height, width = wanted
    assert (fitted.gt_boxes.tensor >= 0).all()
    limit = torch.tensor([width, height, width, height]) * (1 + 1e-6)
    assert (fitted.gt_boxes.tensor <= limit).all()
    clipped = torchvision.ops.clip_boxes_to_image(boxes, size)
    kept = ((clipped[:, 2:] - clipped[:, :2]) > 0).all(dim=1).nonzero()[:, 0]
    assert fitted.gt_classes.tolist() == kept.tolist()
    again = fit_instances(fitted, wanted, wanted)
    torch.testing.assert_close(again.gt_boxes.tensor, fitted.gt_boxes.tensor)
    if wanted == size:
        assert torch.equal(fitted.gt_boxes.tensor, clipped[kept])


@some
@given(SEEDS, st.floats(0, 20))
def test_what_is_small_is_dropped_and_nothing_else(seed, least):
    boxes = boxes_in((40, 40), 20, seed)
    remaining, kept = drop_small(instances_of(boxes, (40, 40)), least)
    short = [min(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes]
    assert kept.tolist() == [bool(side >= least) for side in short]
    assert torch.equal(remaining.gt_boxes.tensor, boxes[kept])
    assert remaining.gt_classes.tolist() == kept.nonzero()[:, 0].tolist()


@some
@given(SEEDS, FACTORS, SIZES)
def test_padding_adds_copies_of_the_border_only(seed, factor, size):
    image = torch.rand(1, 2, *size, generator=torch.Generator().manual_seed(seed % 2**31))
    padded = pad_to_factor(image, factor)
    assert all(side % factor.numerator == 0 for side in padded.shape[-2:])
    assert torch.equal(padded[..., : size[0], : size[1]], image)
    assert torch.equal(padded.amax(dim=(0, 2, 3)), image.amax(dim=(0, 2, 3)))
    assert torch.equal(padded.amin(dim=(0, 2, 3)), image.amin(dim=(0, 2, 3)))


STRIDES = st.sampled_from([1, 2, 4, 8])


@some
@given(FACTORS, STRIDES, STRIDES, st.integers(33, 80), st.integers(33, 80))
def test_what_is_linear_in_the_image_is_compared_without_error(
    factor, stride, other_stride, height, width
):
    size = (height, width)

    def ramp(scale, offset):
        """A feature map whose cells hold 3 y - 2 x + 5 of where they stand."""
        across = [float(scale * k + offset) for k in range(math.ceil(100 / scale))]
        at = torch.tensor(across, dtype=torch.float64)
        values = 3 * at[:, None] - 2 * at[None, :] + 5
        return FeatureMap(values[None, None], scale, offset, (size,))

    half = Fraction(1, 2)
    student = ramp(factor * stride, factor * half)
    teacher = ramp(Fraction(other_stride), half * other_stride)
    if min(student.cells_inside(0)) < 2:  # one cell has no slope to continue
        return
    torch.testing.assert_close(
        student.sampled_at(teacher, 0), teacher.inside(0), rtol=0, atol=1e-6 * 400
    )


def resamplers():
    return st.one_of(
        FACTORS.map(Bicubic),
        FACTORS.map(DownUp),
        st.sampled_from([(4, 1), (4, 2), (4, 5), (2, 2)]).map(lambda v: LearnedDownsampler(*v)),
    )


def image_of(size, seed, multiple=1):
    size = [math.ceil(side / multiple) * multiple for side in size]
    generator = torch.Generator().manual_seed(seed % 2**31)
    return torch.rand(3, *size, generator=generator)


@some
@given(resamplers(), SIZES, SEEDS)
def test_flat_images_stay_flat_and_sizes_follow_the_factor(resampler, size, seed):
    colour = image_of((1, 1), seed)
    with torch.no_grad():
        (result,) = resampler([colour.expand(3, *size).contiguous()])
    assert tuple(result.shape[-2:]) == low_res_size(size, resampler.factor)
    torch.testing.assert_close(result, colour.expand_as(result), rtol=0, atol=2e-6)


@some
@given(resamplers(), SIZES, SEEDS, st.sampled_from([[-1], [-2], [-2, -1]]))
def test_a_mirrored_image_becomes_the_mirrored_result(resampler, size, seed, axes):
    degradation = getattr(resampler, "degradation", resampler.factor)
    image = image_of(size, seed, degradation.numerator)  # padding is at one side only
    with torch.no_grad():
        (result,), (mirrored,) = resampler([image]), resampler([image.flip(axes)])
    torch.testing.assert_close(mirrored.flip(axes), result, rtol=0, atol=2e-6)


@some
@given(resamplers(), st.lists(SIZES, min_size=1, max_size=4), SEEDS, st.randoms())
def test_other_images_of_the_batch_and_their_order_change_nothing(resampler, sizes, seed, random):
    images = [image_of(size, seed + k) for k, size in enumerate(sizes)]
    order = list(range(len(images)))
    random.shuffle(order)
    with torch.no_grad():
        alone = [resampler([image])[0] for image in images]
        together = resampler([images[k] for k in order])
    for k, result in zip(order, together, strict=True):
        torch.testing.assert_close(result, alone[k], rtol=1e-6, atol=1e-6)


@some
@given(st.sampled_from([(4, 2), (2, 2)]), SIZES, SEEDS)
def test_a_box_filter_keeps_the_mean_colour(variant, size, seed):
    image = image_of(size, seed, 4)
    with torch.no_grad():
        (result,) = LearnedDownsampler(*variant)([image])
    torch.testing.assert_close(result.mean(dim=(1, 2)), image.mean(dim=(1, 2)))


EVERYTHING = [(0.0, math.inf)]
AITOD = SizeRanges.from_config("aitod")
SIZE_RANGES = [*EVERYTHING, *AITOD.areas()]
CAP = 50


def truth_of(boxes):
    """Ground truth of rows (image, class, x, y, width, height)."""
    return {
        "images": [{"id": k} for k in range(3)],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for k, (i, c, *b) in enumerate(boxes, start=1)
        ],
    }


def detections_of(rows):
    """Detections of rows (score, image, class, x, y, width, height)."""
    return [{"image_id": i, "category_id": c, "bbox": list(b), "score": s} for s, i, c, *b in rows]


def figures(boxes, rows, areas=EVERYTHING):
    """AP in each range of area; NaN where nothing is to be found."""
    scores = score_boxes(truth_of(boxes), detections_of(rows), areas, [CAP])
    found = [scores.ap(k) for k in range(len(areas))]
    return np.array([math.nan if ap is None else ap for ap in found])


@st.composite
def cases(draw, sides=(3, 6, 12, 24, 48)):
    """Objects, and detections of them that are more or less good, of scores that all differ."""
    rng = np.random.default_rng(draw(SEEDS))
    boxes, rows = [], []
    for _ in range(draw(st.integers(1, 12))):
        width, height = (float(side) for side in rng.choice(sides, 2))
        x, y = (float(place) for place in rng.integers(0, 300, 2))
        box = (int(rng.integers(3)), int(rng.integers(1, 3)), x, y, width, height)
        boxes.append(box)
        for _ in range(rng.integers(3)):
            off = np.array([0, 0, *rng.integers(-1, 2, 2), 0, 0]) * width / 6
            rows.append(tuple(np.array(box) + off))
    for _ in range(rng.integers(4)):
        rows.append((int(rng.integers(3)), 1, *map(float, rng.integers(1, 200, 4))))
    scores = rng.permutation(len(rows)) + 1.0
    return boxes, [
        (float(score) / 100, int(i), int(c), *map(float, b))
        for score, (i, c, *b) in zip(scores, rows, strict=True)
    ]


@some
@given(cases(), st.randoms())
def test_the_order_in_which_things_are_listed_changes_no_figure(case, random):
    boxes, rows = case
    expected = figures(boxes, rows, SIZE_RANGES)
    shuffled = [list(boxes), list(rows)]
    for part in shuffled:
        random.shuffle(part)
    np.testing.assert_array_equal(figures(*shuffled, SIZE_RANGES), expected)


@some
@given(cases())
def test_only_the_order_of_scores_counts(case):
    boxes, rows = case
    expected = figures(boxes, rows, SIZE_RANGES)
    squared = [(score**2 / 2, *rest) for score, *rest in rows]
    np.testing.assert_array_equal(figures(boxes, squared, SIZE_RANGES), expected)


@some
@given(cases())
def test_perfect_detections_are_worth_100_percent_in_every_size_range(case):
    boxes, _ = case
    rows = [(1 - k / 100, *box) for k, box in enumerate(boxes)]
    found = figures(boxes, rows, SIZE_RANGES)
    assert found[0] == pytest.approx(1)
    np.testing.assert_allclose(found[~np.isnan(found)], 1)


@some
@given(cases(), st.data())
def test_a_detection_again_or_one_of_nothing_never_raises_the_precision(case, data):
    boxes, rows = case
    before = figures(boxes, rows)[0]
    score = data.draw(st.floats(0.001, 1).filter(lambda s: all(s != row[0] for row in rows)))
    nothing = (score, 0, 1, 900.0, 900.0, 9.0, 9.0)
    assert figures(boxes, [*rows, nothing])[0] <= before + 1e-12
    if rows:
        _, *again = data.draw(st.sampled_from(rows))
        lower = min(row[0] for row in rows) / 2
        assert figures(boxes, [*rows, (lower, *again)])[0] <= before + 1e-12


@some
@given(cases())
def test_one_more_object_found_last_never_lowers_the_precision(case):
    boxes, rows = case
    lowest = min((row[0] for row in rows), default=1.0)
    before = figures(boxes, rows)[0]
    for box in boxes:
        # Far from all others, so that it can only be found.
        moved = (box[0], box[1], 1000.0, 1000.0, *box[4:])
        missed = figures([*boxes, moved], rows)[0]
        assert figures([*boxes, moved], [*rows, (lowest / 2, *moved)])[0] >= missed
        assert missed <= before + 1e-12


@some
@given(cases(sides=(9, 10, 12, 14)))
def test_where_all_is_of_one_size_range_its_figure_is_that_of_all(case):
    boxes, rows = case
    rows = [row for row in rows if 64 <= row[5] * row[6] <= 256]
    overall, _, tiny, *_ = figures(boxes, rows, SIZE_RANGES)
    assert tiny == overall


@some
@given(cases())
def test_images_of_twice_the_size_have_the_same_figures(case):
    boxes, rows = case
    twice = [[(*r[:-4], *(2 * v for v in r[-4:])) for r in part] for part in (boxes, rows)]
    np.testing.assert_array_equal(figures(*twice), figures(boxes, rows))


@some
@given(cases())
def test_every_size_range_and_threshold_is_that_of_pycocotools(case):
    boxes, rows = case
    if not rows:
        return
    truth, detections = truth_of(boxes), detections_of(rows)
    ours = score_boxes(truth, detections, SIZE_RANGES, [1, CAP])
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(detections), "bbox")
        run.params.areaRng = [[low, min(high, 1e10)] for low, high in SIZE_RANGES]
        run.params.areaRngLbl = [str(k) for k in range(len(SIZE_RANGES))]
        run.params.maxDets = [1, CAP]
        run.params.iouThrs = np.array(COCO_IOU_THRESHOLDS)
        run.evaluate()
        run.accumulate()
    np.testing.assert_allclose(ours.precision, run.eval["precision"][..., -1], atol=1e-12)
    np.testing.assert_allclose(ours.recall, run.eval["recall"], atol=1e-12)


@some
@given(st.lists(st.floats(0, 1e4), max_size=30), st.sampled_from(["coco", "aitod", "plates"]))
def test_size_ranges_lose_no_object_and_count_twice_only_at_their_edges(sides, name):
    size_ranges = SizeRanges.from_config(name)
    areas = [side**2 for side in sides]
    edges = {low**2 for low, _ in size_ranges.limits}
    counted = sum(size_ranges.counts(areas))
    assert len(areas) <= counted <= len(areas) + sum(area in edges for area in areas)
