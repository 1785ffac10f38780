"""Which anchor belongs to which object, and which of them are drawn."""

from __future__ import annotations

import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.sampling import subsample_labels

QUALITY = torch.tensor(
    [
        [0.10, 0.80, 0.45, 0.00, 0.30],
        [0.20, 0.70, 0.40, 0.25, 0.30],
    ]
)


@pytest.mark.parametrize(
    "thresholds, labels, low_quality, expected",
    [
        ([0.5], [0, 1], False, [0, 1, 0, 0, 0]),
        ([0.4, 0.5], [0, -1, 1], False, [0, 1, -1, 0, 0]),
        # 0.80 and 0.70 are the best of their objects; nothing else becomes positive.
        ([0.9], [0, 1], True, [0, 1, 0, 0, 0]),
        ([0.3, 0.45], [-1, 0, 1], False, [-1, 1, 1, -1, 0]),
    ],
)
def test_labels_follow_the_thresholds(thresholds, labels, low_quality, expected):
    matcher = Matcher(thresholds, labels, allow_low_quality_matches=low_quality)
    index, got = matcher(QUALITY)
    assert index.tolist()[:4] == [1, 0, 0, 1]
    assert got.tolist() == expected and got.dtype == torch.int8


def test_the_best_anchors_of_an_object_are_positive_with_ties_and_keep_their_own_object():
    quality = torch.tensor([[0.2, 0.2, 0.1, 0.0], [0.0, 0.3, 0.6, 0.9]])
    index, labels = Matcher([0.7], [0, 1], allow_low_quality_matches=True)(quality)
    assert labels.tolist() == [1, 1, 0, 1]
    assert index.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("shape", [(0, 3), (0, 0)])
def test_without_objects_everything_has_the_lowest_label(shape):
    index, labels = Matcher([0.3, 0.7], [0, -1, 1], True)(torch.zeros(shape))
    assert index.tolist() == labels.tolist() == [0] * shape[1]


@pytest.mark.parametrize(
    "thresholds, labels", [([0.5], [0, 1, 1]), ([0.7, 0.3], [0, -1, 1]), ([0.5], [0, 2])]
)
def test_wrong_thresholds_or_labels_are_refused(thresholds, labels):
    with pytest.raises(AssertionError):
        Matcher(thresholds, labels)


@pytest.mark.parametrize(
    "num_samples, fraction, positives, negatives",
    [
        (20, 0.5, 10, 10),
        (40, 0.75, 15, 25),  # all 15 positives, the rest negative
        (20, 0.0, 0, 20),
        (200, 0.5, 15, 60),  # all there are
    ],
)
def test_samples_keep_to_the_fraction_and_fill_up_with_negatives(
    num_samples, fraction, positives, negatives
):
    labels = torch.tensor([3] * 15 + [7] * 60 + [-1] * 25)
    labels = labels[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    positive, negative = subsample_labels(labels, num_samples, fraction, bg_label=7)
    assert (len(positive), len(negative)) == (positives, negatives)
    assert (labels[positive] == 3).all() and (labels[negative] == 7).all()
    assert len(set(positive.tolist())) == positives and len(set(negative.tolist())) == negatives


def test_every_candidate_is_drawn_equally_often():
    labels = torch.tensor([1, 1, 1, 1, 0, 0])
    torch.manual_seed(0)
    counts = torch.zeros(6)
    for _ in range(2000):
        positive, negative = subsample_labels(labels, 3, 0.67, bg_label=0)
        counts[torch.cat([positive, negative])] += 1
    expected = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    torch.testing.assert_close(counts / 2000, expected, rtol=0, atol=0.05)
