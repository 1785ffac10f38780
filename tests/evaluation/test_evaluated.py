"""Curves, confusions and intervals of detections: small cases by hand, and COCO's evaluation."""

import json
import math

from lowres_d2.evaluation import SizedCOCOEvaluator, score_boxes
from lowres_d2.evaluation.bootstrap import draw_images, gain_interval, resampled_ap
from lowres_d2.evaluation.confusion import confusion_matrix
from lowres_d2.evaluation.evaluated import Evaluated
from lowres_d2.evaluation.precision_recall import precision_by_recall

import numpy as np
import pytest

CLASSES = [7, 3]  # category ids of the labels 0 and 1


def evaluated(objects, found, images=(1, 2, 3)):
    """From rows (image, label, x, crowd) and (image, label, x, score): boxes of 10 px at x."""
    truth = {
        "images": [{"id": image} for image in images],
        "categories": [{"id": category} for category in CLASSES],
        "annotations": [
            {"image_id": image, "category_id": CLASSES[label], "bbox": [x, 0, 10, 10]}
            | {"area": 100, "iscrowd": crowd}
            for image, label, x, crowd in objects
        ],
    }
    detections = [
        {"image_id": image, "category_id": CLASSES[label], "bbox": [x, 0, 10, 10], "score": score}
        for image, label, x, score in found
    ]
    return Evaluated(truth, detections, CLASSES, 100, lambda found, draws: {})


def redrawn_ap(case, draws):
    return resampled_ap(case.truth, case.detections, case.max_dets, draws)


OBJECTS = [(1, 0, 0, 0), (1, 1, 50, 0), (2, 0, 0, 0), (3, 1, 0, 0)]
FOUND = [
    (1, 0, 0, 0.9),
    (1, 0, 50, 0.8),  # of the wrong class
    (1, 1, 51, 0.7),  # the right one, but the object is taken
    (2, 0, 100, 0.6),  # no object there
    (2, 0, 2, 0.5),  # IoU 8 / 12
    (3, 1, 0, 0.2),  # under the threshold
]


def test_confusions_by_hand():
    counts = confusion_matrix(evaluated(OBJECTS, FOUND), threshold=0.3)
    assert counts.tolist() == [
        [2, 0, 0],
        [1, 0, 1],
        [1, 1, 0],
    ]


def test_a_higher_iou_leaves_loose_boxes_unmatched():
    counts = confusion_matrix(evaluated(OBJECTS, FOUND), threshold=0.3, iou=0.7)
    assert counts[0].tolist() == [1, 0, 1]
    assert counts[2].tolist() == [2, 1, 0]


def test_crowds_are_neither_missed_nor_taken_for_anything():
    crowd = [(1, 0, 0, 1), (2, 0, 0, 1), (3, 0, 0, 0)]
    found = [(1, 1, 0, 0.9), (1, 0, 1, 0.8), (3, 0, 0, 0.9)]
    counts = confusion_matrix(evaluated(crowd, found), threshold=0.5)
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_without_detections_all_objects_are_missed():
    counts = confusion_matrix(evaluated(OBJECTS, FOUND), threshold=0.95)
    assert counts.tolist() == [[0, 0, 2], [0, 0, 2], [0, 0, 0]]


def test_precision_by_hand():
    # Class 0: right, wrong, right; class 1 finds one object of two, after a wrong detection.
    found = [(1, 0, 0, 0.9), (2, 0, 100, 0.8), (2, 0, 0, 0.7), (1, 1, 90, 0.9), (1, 1, 50, 0.8)]
    curve = precision_by_recall(evaluated(OBJECTS, found))
    assert curve[:51] == pytest.approx((100 + 50) / 2)  # up to a recall of a half
    assert curve[51:] == pytest.approx((100 * 2 / 3 + 0) / 2)


def random_case(seed, hit_rate, number=12):
    random = np.random.default_rng(seed)
    images = range(1, number + 1)
    objects = [(k, int(random.integers(2)), 20 * j, 0) for k in images for j in range(3)]
    found = [
        (k, label, x + float(random.uniform(0, 3)), float(random.uniform()))
        for k, label, x, _ in objects
        if np.random.default_rng(97 * k + x).uniform() < hit_rate
    ]
    found += [(k, int(random.integers(2)), 200, float(random.uniform())) for k in images]
    return objects, found, list(images)


def ap_of(case):
    scores = score_boxes(case.truth, case.detections, [(0.0, math.inf)], [100])
    return 100 * scores.ap(0)


def test_ap_of_a_draw_is_that_of_the_images_it_has():
    objects, found, images = random_case(0, 0.8)
    case = evaluated(objects, found, images)
    draws = draw_images(len(images), draws=4)
    whole, *drawn = redrawn_ap(case, draws)
    assert whole == pytest.approx(ap_of(case))
    for draw, ap in zip(draws, drawn, strict=True):
        # The drawn images as images of their own, with ids from 1.
        taken = [(new, images[old]) for new, old in enumerate(draw, start=1)]
        again = evaluated(
            [(new, *row[1:]) for new, old in taken for row in objects if row[0] == old],
            [(new, *row[1:]) for new, old in taken for row in found if row[0] == old],
            images,
        )
        assert ap == pytest.approx(ap_of(again))


def test_a_draw_without_objects_has_no_ap():
    case = evaluated([(1, 0, 0, 0)], [(1, 0, 0, 0.9)])
    whole, without = redrawn_ap(case, np.array([[1, 2, 1]]))
    assert whole == pytest.approx(100) and np.isnan(without)


def test_draws_are_the_same_for_every_detector():
    assert np.array_equal(draw_images(9), draw_images(9))
    assert draw_images(9).shape == (300, 9) and draw_images(9).max() == 8


def test_the_interval_of_a_gain_by_hand():
    # First the whole set's, then a hundred draws that gain 1, 2, ..., 100.
    worse = np.concatenate([[20.0], np.full(101, 20.0)])
    better = worse + np.concatenate([[50.0], np.arange(101.0)])
    assert gain_interval([better], [worse]) == pytest.approx((50.0, 2.5, 97.5))
    # Over seeds it is the mean's.
    assert gain_interval([better, better + 10], [worse, worse]) == pytest.approx((55, 7.5, 102.5))
    assert gain_interval([better], [better]) == (0, 0, 0)


def test_pairing_makes_the_interval_narrow():
    draws = draw_images(12, draws=100)
    many, few = (redrawn_ap(evaluated(*random_case(1, rate)), draws) for rate in (0.9, 0.6))
    gain, low, high = gain_interval([many], [few])
    assert low < gain < high
    apart = gain_interval([many], [np.concatenate([few[:1], few[:0:-1]])])
    assert high - low < apart[2] - apart[1]


def test_what_an_evaluator_wrote_is_read(tmp_path):
    class Data:
        classes, category_ids = ["a", "b"], CLASSES

        def coco_dict(self):
            return evaluated(OBJECTS, FOUND).truth

    (tmp_path / "found.json").write_text(json.dumps(evaluated(OBJECTS, FOUND).detections))
    loose = SizedCOCOEvaluator(Data(), max_dets=150, iou_thresholds=[0.5])
    read = loose.read(tmp_path / "found.json")
    assert read.max_dets == 150 and read.num_images == 3
    assert confusion_matrix(read, 0.3).tolist() == [[2, 0, 0], [1, 0, 1], [1, 1, 0]]
    # Its AP is that of its own thresholds: one class has two objects of two, the other one of two.
    draws = np.array([[1, 1, 1], [2, 2, 2]])  # of the second and of the third image alone
    assert read.redrawn(draws)["AP"][1:] == pytest.approx([50, 100])
    strict = SizedCOCOEvaluator(Data()).read(tmp_path / "found.json")
    assert strict.redrawn(draws)["AP"][1] == pytest.approx(0.4 * 50)  # IoU 0.67, after a miss
