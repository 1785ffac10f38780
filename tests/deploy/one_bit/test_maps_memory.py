"""Memory of maps that nobody holds is used again, and only then."""

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import memory
from lowres_d2.deploy.one_bit.memory import free_bytes, new_features, new_map

import pytest
import torch


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(memory, "_free", type(memory._free)())


def test_memory_comes_back_when_the_last_view_is_gone():
    first = new_map(512, 512)
    address = first.data_ptr()
    view = first[3:5].view(-1)
    del first
    second = new_map(512, 512)
    assert second.data_ptr() != address and free_bytes() == 0
    del view
    assert free_bytes() == 1 << 20
    third = new_map(512, 500)  # of about the same size
    assert third.data_ptr() == address and free_bytes() == 0


def test_maps_are_aligned_and_of_their_own():
    maps = [new_map(100, 333 + k, dtype=torch.int32) for k in range(5)]
    for k, each in enumerate(maps):
        assert each.shape == (100, 333 + k) and each.data_ptr() % 64 == 0
        each.fill_(k)
    assert [each.unique().tolist() for each in maps] == [[0], [1], [2], [3], [4]]


def test_features_have_their_channels_last():
    for size in ((2, 3, 4, 5), (1, 64, 40, 50), (0, 3, 4, 5)):
        features = new_features(*size)
        assert features.shape == size
        assert features.is_contiguous(memory_format=torch.channels_last)


def test_no_more_is_kept_than_said(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 3 << 20)
    maps = [new_map(1 << 18) for _ in range(5)]
    maps.clear()
    assert free_bytes() == 3 << 20
    large = new_map(1 << 19)
    del large
    assert free_bytes() == 3 << 20  # an older one went
