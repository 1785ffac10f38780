import itertools

import lowres_d2  # noqa: F401

import numpy as np
import pytest
import torch
from detectron2.data.samplers import (
    GroupedBatchSampler,
    InferenceSampler,
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from detectron2.utils import comm
from torch.utils.data import SequentialSampler


def take(sampler, count):
    return list(itertools.islice(sampler, count))


def test_each_pass_is_a_permutation_and_passes_differ():
    indices = np.array(take(TrainingSampler(50, seed=1), 150)).reshape(3, 50)
    np.testing.assert_array_equal(np.sort(indices, axis=1), np.tile(np.arange(50), (3, 1)))
    assert not (indices[0] == indices[1]).all()
    assert take(TrainingSampler(3, shuffle=False), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_the_seed_decides_the_order():
    assert take(TrainingSampler(30, seed=4), 60) == take(TrainingSampler(30, seed=4), 60)
    assert take(TrainingSampler(30, seed=4), 30) != take(TrainingSampler(30, seed=5), 30)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrainingSampler(10, seed=7),
        lambda: RandomSubsetTrainingSampler(10, 0.5, seed_shuffle=7, seed_subset=8),
        lambda: RepeatFactorTrainingSampler(torch.linspace(1, 3, 10), seed=7),
    ],
)
def test_processes_share_one_stream_without_overlap(make, monkeypatch):
    stream = take(make(), 60)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(comm, "get_world_size", lambda: 3)
        parts.append(take(make(), 20))
    assert [index for step in zip(*parts, strict=True) for index in step] == stream


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-3, ValueError), (2.5, TypeError)])
def test_a_size_that_is_none_is_refused(size, error):
    with pytest.raises(error):
        TrainingSampler(size)


def test_a_subset_is_fixed_and_of_its_share():
    sampler = RandomSubsetTrainingSampler(40, 0.25, seed_shuffle=0, seed_subset=1)
    first, second = np.array(take(sampler, 20)).reshape(2, 10)
    assert len(set(first)) == 10
    assert set(first) == set(second)
    other = RandomSubsetTrainingSampler(40, 0.25, seed_shuffle=9, seed_subset=1)
    assert set(take(other, 10)) == set(first)
    with pytest.raises(AssertionError):
        RandomSubsetTrainingSampler(40, 1.5)


@pytest.mark.parametrize("sqrt", [True, False])
def test_repeat_factors_follow_the_rarest_class(sqrt):
    classes = [[0], [0, 1], [0, 0], []]  # class 0 in 3/4 of the images, class 1 in 1/4
    images = [{"annotations": [{"category_id": c} for c in cs]} for cs in classes]
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        images, 0.5, sqrt=sqrt
    )
    rare = 2**0.5 if sqrt else 2.0
    torch.testing.assert_close(factors, torch.tensor([1.0, rare, 1.0, 1.0]))


def test_whole_factors_repeat_exactly_and_fractions_on_average():
    factors = torch.tensor([1.0, 3.0, 1.5])
    indices = take(RepeatFactorTrainingSampler(factors, shuffle=False, seed=0), 5500)
    counts = np.bincount(indices)
    assert counts[1] == pytest.approx(3 * counts[0], abs=3)
    assert counts[2] / counts[0] == pytest.approx(1.5, abs=0.06)


@pytest.mark.parametrize(("size", "world"), [(10, 3), (3, 5), (8, 2), (1, 1)])
def test_inference_shares_cover_each_element_once_in_order(size, world):
    shares = [InferenceSampler._get_local_indices(size, world, rank) for rank in range(world)]
    assert list(itertools.chain.from_iterable(shares)) == list(range(size))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_inference_sampler_alone_walks_through_everything():
    sampler = InferenceSampler(4)
    assert list(sampler) == [0, 1, 2, 3]
    assert len(sampler) == 4


def test_grouped_batches_have_one_group():
    groups = [0, 1, 1, 0, 1, 0, 0, 1, 1]
    batches = list(iter(GroupedBatchSampler(SequentialSampler(groups), groups, 2)))
    assert batches == [[1, 2], [0, 3], [5, 6], [4, 7]]
