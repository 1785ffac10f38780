from itertools import chain, islice

from lowres_d2.data.classification import (
    ImageArrays,
    build_array_test_loader,
    build_array_train_loader,
)
from lowres_d2.data.classification.crop_and_flip import crop_and_flip
from lowres_d2.data.datasets.sample import EvenSample

import numpy as np
import pytest
import torch


def arrays(number=10, size=(6, 7)):
    """Images without zeros, so that padding shows."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (number, 3, *size), generator=random, dtype=torch.uint8)
    return ImageArrays(images, [k % 4 for k in range(number)], list("abcd"), "toy")


def batches(number, start=0, dataset=None, **settings):
    loader = build_array_train_loader(
        dataset or arrays(), **{"total_batch_size": 4, "seed": 7} | settings, start_iteration=start
    )
    return list(islice(loader, number))


def assert_same(first, second):
    first, second = list(chain(*first)), list(chain(*second))
    assert [{**a, "image": None} for a in first] == [{**b, "image": None} for b in second]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, second, strict=True))


def test_crops_and_flips_are_those_of_numpy():
    images = arrays().images
    random = np.random.default_rng(1)
    top, left, flipped = (
        random.integers(0, 5, 10),
        random.integers(0, 5, 10),
        random.random(10) < 0.5,
    )
    assert 0 < flipped.sum() < 10
    given = images.clone()
    found = crop_and_flip(images, *map(torch.from_numpy, (top, left, flipped)), padding=2)
    for k in range(10):
        padded = np.pad(images[k].numpy(), ((0, 0), (2, 2), (2, 2)))
        crop = padded[:, top[k] : top[k] + 6, left[k] : left[k] + 7]
        assert np.array_equal(found[k].numpy(), crop[:, :, ::-1] if flipped[k] else crop)
    assert torch.equal(images, given)


def test_without_crop_and_flip_images_are_those_of_the_data_set():
    dataset = arrays()
    for item in chain(*batches(5, dataset=dataset, crop_padding=0, flip=False)):
        expected = dataset[item["image_id"] - 1]
        assert torch.equal(item.pop("image"), expected.pop("image")) and item == expected


def test_each_epoch_has_every_image_once():
    ids = [item["image_id"] for item in chain(*batches(10))]
    for epoch in range(4):
        assert sorted(ids[10 * epoch : 10 * epoch + 10]) == list(range(1, 11))
    assert ids[:10] != ids[10:20]


def test_images_are_views_of_one_tensor():
    (batch,) = batches(1)
    assert len({item["image"].untyped_storage().data_ptr() for item in batch}) == 1


def test_a_batch_depends_on_seed_and_iteration_only():
    fresh = batches(7)
    assert_same(batches(3, start=4), fresh[4:])
    images = torch.stack([item["image"] for item in chain(*fresh)])
    other = torch.stack([item["image"] for item in chain(*batches(7, seed=8))])
    assert not torch.equal(images, other)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_batch(world_size):
    shares = [batches(3, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert_same([list(chain(*parts)) for parts in zip(*shares, strict=True)], batches(3))


def test_flips_are_half_and_crops_uniform_and_differ_between_epochs():
    dataset = ImageArrays(arrays(1).images, [0], ["a"], "toy")
    settings = dict(dataset=dataset, total_batch_size=2000, crop_padding=1)
    kinds = {}
    for item in batches(1, **settings)[0]:
        key = item["image"].numpy().tobytes()
        kinds[key] = kinds.get(key, 0) + 1
    assert len(kinds) == 2 * 3 * 3  # flipped or not, at each of nine places
    assert all(60 < number < 170 for number in kinds.values())  # 111 expected
    assert (
        len({item["image"].numpy().tobytes() for item in batches(1, flip=False, **settings)[0]})
        == 9
    )


def test_global_random_state_is_untouched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    batches(2)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_every_test_image_is_on_one_rank_once():
    dataset = arrays()
    loaders = [build_array_test_loader(dataset, 3, rank, 3) for rank in range(3)]
    assert (
        [len(loader) for loader in loaders] == [1, 1, 2] == [len([*loader]) for loader in loaders]
    )
    items = list(chain(*chain(*loaders)))
    assert [item["image_id"] for item in items] == list(range(1, 11))
    assert all(torch.equal(item["image"], dataset.images[k]) for k, item in enumerate(items))


def test_a_sample_is_loaded_with_its_own_images():
    dataset = arrays()
    (batch,) = build_array_test_loader(EvenSample(dataset, 3), 8, 0, 1)
    assert [item["image_id"] for item in batch] == [1, 4, 7]
    assert torch.equal(batch[1]["image"], dataset.images[3])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": -1}, "dataloader.train.seed=-1: expected a whole number, 0 or more"),
        ({"crop_padding": 0.5}, "dataloader.train.crop_padding=0.5: expected a whole"),
        ({"total_batch_size": 3, "world_size": 2, "rank": 0}, "total_batch_size=3: expected"),
        ({"start": -1}, "start_iteration=-1"),
    ],
)
def test_wrong_settings_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        batches(1, **change)


@pytest.mark.parametrize(("padding", "fits"), [(5, True), (6, False), (40, False)])
def test_crops_that_may_have_nothing_of_the_image_are_refused(padding, fits):
    loader = build_array_train_loader(arrays(size=(6, 7)), 4, 0, crop_padding=padding)
    if fits:
        assert len(next(iter(loader))) == 4
        return
    words = rf"crop_padding={padding}: some crops of images of 7x6 would be .* less than 6"
    with pytest.raises(ValueError, match=words):
        loader.check_first_batch()


def test_data_that_this_loader_cannot_take_are_named():
    files = [{"file_name": "x.png", "label": 0, "image_id": 1}] * 4
    with pytest.raises(ValueError, match=r"list: its items have no image: .*build_train_loader"):
        build_array_train_loader(files, 4, 0).check_first_batch()
    mixed = [arrays(1)[0], arrays(1, (5, 5))[0]]
    with pytest.raises(ValueError, match=r"shapes \[\(3, 5, 5\), \(3, 6, 7\)\]: expected one"):
        next(iter(build_array_test_loader(mixed, 2, 0, 1)))
    with pytest.raises(ValueError, match=r"dataloader.test.batch_size=0: expected"):
        build_array_test_loader(arrays(), 0)
