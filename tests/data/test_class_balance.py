"""Images of rare classes come more often, by the factors of Detectron2's sampler."""

from collections import Counter

from lowres_d2.data import build_train_loader
from lowres_d2.data.loader import images_per_epoch, repeat_factors
from lowres_d2.data.stream import EpochOrder

import pytest

RARE = 9  # of ten images, the one with class 1


def record(k, *categories, crowd=()):
    found = [{"category_id": c, "iscrowd": 0} for c in categories]
    found += [{"category_id": c, "iscrowd": 1} for c in crowd]
    return {"image_id": k, "annotations": found}


DATASET = [record(k, 0) for k in range(9)] + [record(RARE, 0, 1)]


def as_it_is(sample):
    return {"image_id": sample["image_id"]}


def loaded(number, **settings):
    settings = {"total_batch_size": 4, "seed": 3, "repeat_threshold": 0.9} | settings
    loader = build_train_loader(DATASET, as_it_is, **settings)
    return [[s["image_id"] for s in batch] for batch, _ in zip(loader, range(number), strict=False)]


def test_factors_are_the_square_root_of_threshold_over_share():
    # Class 1 is in a tenth of the images: sqrt(0.9 / 0.1) = 3.
    assert repeat_factors(DATASET, 0.9) == pytest.approx([1] * 9 + [3])
    assert repeat_factors(DATASET, 0.05) == [1] * 10
    crowds = [*DATASET[:9], record(RARE, 0, crowd=[1])]
    assert repeat_factors(crowds, 0.9) == [1] * 10  # not learned from
    assert repeat_factors([record(0), *DATASET], 0.05) == [1] * 11


def test_rare_images_come_as_often_as_their_factor_in_every_epoch():
    order = EpochOrder(0, 4, [1, 2, 1, 3])
    for epoch in range(3):
        seen = Counter(order.image_at(7 * epoch + k) for k in range(7))
        assert seen == {0: 1, 1: 2, 2: 1, 3: 3}
    half = EpochOrder(0, 2, [1, 1.5])
    seen = Counter(half.image_at(k) for k in range(5000))
    assert seen[1] / seen[0] == pytest.approx(1.5, abs=0.05)


def test_order_is_a_function_of_seed_and_position():
    factors = [1, 1.5, 1, 2.7]
    order = [EpochOrder(5, 4, factors).image_at(p) for p in range(60)]
    backwards = EpochOrder(5, 4, factors)
    assert [backwards.image_at(p) for p in reversed(range(60))] == order[::-1]
    assert [EpochOrder(6, 4, factors).image_at(p) for p in range(60)] != order


def test_batches_do_not_depend_on_workers_ranks_or_where_a_run_is_resumed():
    whole = loaded(12)
    assert loaded(12, num_workers=2) == whole
    assert loaded(5, start_iteration=7) == whole[7:]
    parts = [loaded(12, rank=rank, world_size=2) for rank in (0, 1)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    assert sum(batch.count(RARE) for batch in whole) == 12  # 3 of the 12 images of an epoch


def test_without_a_threshold_every_image_comes_once():
    images = [k for batch in loaded(5, repeat_threshold=None) for k in batch]
    assert Counter(images) == dict.fromkeys(range(10), 2)


def test_an_epoch_is_the_images_that_the_loader_gives():
    assert images_per_epoch(DATASET) == 10
    assert images_per_epoch(DATASET, repeat_threshold=0.9) == pytest.approx(12)  # once three times
    with_empty = [*DATASET, record(10), record(11, crowd=[0])]
    assert images_per_epoch(with_empty) == 12
    assert images_per_epoch(with_empty, filter_empty=True) == 10
    assert images_per_epoch(with_empty, True, 0.9) == pytest.approx(12)


@pytest.mark.parametrize("threshold", [0, -1, 1.5, True])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(ValueError, match=r"repeat_threshold=.*expected a share of the images"):
        loaded(1, repeat_threshold=threshold)


def test_data_without_annotations_and_labels_cannot_be_balanced():
    with pytest.raises(ValueError, match=r"repeat_threshold: the data has no annotations and no"):
        build_train_loader([{"image_id": 0}], as_it_is, 1, 0, repeat_threshold=0.5)
