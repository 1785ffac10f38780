import random
from itertools import chain, islice

from lowres_d2.data import (
    BrokenImageError,
    DetectionMapper,
    build_test_loader,
    build_train_loader,
)
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.data.stream import EpochOrder, seeded

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import transforms as T


class NoisyMapper:
    """Draws from all three random generators, as augmentations may."""

    def __call__(self, record):
        draws = (random.random(), np.random.rand(), torch.rand(()).item())  # noqa: NPY002
        return {"image_id": record["image_id"], "draws": draws}


def batches(dataset, number, start=0, mapper=None, **arguments):
    loader = build_train_loader(
        dataset, mapper or NoisyMapper(), 4, seed=7, start_iteration=start, **arguments
    )
    return list(islice(loader, number))


@pytest.fixture
def dataset(coco):
    return CocoDataset(coco.json_file)


def test_each_epoch_is_a_permutation(dataset):
    ids = [sample["image_id"] for batch in batches(dataset, 6) for sample in batch]
    for epoch in range(4):
        assert sorted(ids[6 * epoch : 6 * epoch + 6]) == list(range(10, 16))
    assert len({tuple(ids[6 * e : 6 * e + 6]) for e in range(4)}) > 1


@pytest.mark.parametrize("num_workers", [0, 1, 4])
def test_batches_do_not_depend_on_the_number_of_workers(dataset, num_workers):
    assert batches(dataset, 5, num_workers=num_workers) == batches(dataset, 5)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_global_batch(dataset, world_size):
    shares = [batches(dataset, 4, rank=r, world_size=world_size) for r in range(world_size)]
    together = [list(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert together == batches(dataset, 4)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resuming_gives_what_a_fresh_run_gives_there(dataset, num_workers):
    fresh = batches(dataset, 9)
    assert batches(dataset, 4, start=5, num_workers=num_workers) == fresh[5:]


@pytest.mark.parametrize(("num_workers", "world_size"), [(0, 2), (1, 1), (4, 2)])
def test_pixels_are_repeatable_with_real_augmentations(dataset, num_workers, world_size):
    mapper = DetectionMapper(True, [T.RandomCrop("relative", (0.5, 0.5)), T.RandomFlip()])
    once = batches(dataset, 3, mapper=mapper)
    shares = [
        batches(dataset, 3, mapper=mapper, num_workers=num_workers, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    again = [list(chain(*parts)) for parts in zip(*shares, strict=True)]
    for a, b in zip(chain(*once), chain(*again), strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)


def test_seeds_differ_and_positions_differ(dataset):
    draws = [sample["draws"] for batch in batches(dataset, 6) for sample in batch]
    assert len(set(draws)) == len(draws)
    other = next(iter(build_train_loader(dataset, NoisyMapper(), 4, seed=8)))
    assert other != batches(dataset, 1)[0]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_global_random_state_is_untouched(dataset, num_workers):
    def state():
        keys = np.random.get_state()  # noqa: NPY002
        return random.getstate(), keys[1].tolist(), keys[2], torch.get_rng_state().tolist()

    before = state()
    batches(dataset, 2, num_workers=num_workers)
    list(build_test_loader(dataset, NoisyMapper(), num_workers=1))
    after = state()
    if num_workers == 0:  # an evaluation mapper that draws in this process changes the global state
        assert before == after
    assert before[3] == after[3]


class ThreadCounter:
    def __call__(self, record):
        return {"threads": cv2.getNumThreads()}


def test_forked_workers_do_not_wait_for_threads_of_opencv(dataset):
    cv2.setNumThreads(2)
    cv2.resize(np.zeros((999, 999, 3), np.float32), (1999, 1999))  # starts the thread pool
    batch = batches(dataset, 1, mapper=ThreadCounter(), num_workers=1)[0]
    assert [sample["threads"] for sample in batch] == [1] * 4


def test_seeded_restores_after_an_error():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    with pytest.raises(KeyError), seeded(3, 4):
        raise KeyError
    assert random.random() == expected


def test_order_is_a_function_of_seed_and_position():
    order = [EpochOrder(5, 11).image_at(p) for p in range(33)]
    backwards = EpochOrder(5, 11)
    assert [backwards.image_at(p) for p in reversed(range(33))] == order[::-1]
    assert all(sorted(order[k : k + 11]) == list(range(11)) for k in (0, 11, 22))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_broken_images_stop_in_one_line_or_are_skipped_and_counted(coco, dataset, num_workers):
    coco.image(2).write_text("no image")
    with pytest.raises(BrokenImageError, match=r"2.png: cannot be read") as caught:
        batches(dataset, 3, mapper=DetectionMapper(True), num_workers=num_workers)
    assert "\n" not in str(caught.value)

    skipping = DetectionMapper(True, on_broken="skip")
    train = build_train_loader(dataset, skipping, 6, seed=0, num_workers=num_workers)
    ids = [sample["image_id"] for sample in next(iter(train))]
    assert 12 not in ids and len(ids) == 6
    assert train.counts["num_skipped_images"] == 1
    test = build_test_loader(dataset, skipping, num_workers=num_workers)
    assert [b[0]["image_id"] for b in test] == [10, 11, 13, 14, 15]
    assert test.counts["num_skipped_images"] == 1
    with pytest.raises(BrokenImageError, match=r"2.png"):
        list(build_test_loader(dataset, DetectionMapper(False), num_workers=num_workers))


def test_nothing_readable_is_an_error(coco, dataset):
    for k in range(6):
        coco.image(k).unlink()
    with pytest.raises(ValueError, match="none of the 6 images"):
        batches(dataset, 1, mapper=DetectionMapper(True, on_broken="skip"))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_left_out_is_counted_by_the_loader(coco, dataset, num_workers):
    coco.image(2).write_text("no image")
    corner = [T.CropTransform(40, 20, 20, 20)]  # where no box is
    mapper = DetectionMapper(True, corner, on_broken="skip")
    loader = build_train_loader(dataset, mapper, 6, seed=0, num_workers=num_workers)
    assert loader.counts == {"num_dropped_boxes": 0, "num_skipped_images": 0}
    for number, batch in enumerate(islice(loader, 2), start=1):
        # Only batches that were given count, not those that workers have ready.
        assert loader.counts == {"num_dropped_boxes": 6 * number, "num_skipped_images": number}
        assert not {"num_dropped_boxes", "num_skipped_images"} & set(batch[0])


def test_empty_images_stay_unless_filtered(coco):
    coco.content["annotations"] = coco.content["annotations"][:2]
    dataset = CocoDataset(coco.json_file)
    ids = {s["image_id"] for b in batches(dataset, 6) for s in b}
    assert ids == set(range(10, 16))
    ids = {s["image_id"] for b in batches(dataset, 6, filter_empty=True) for s in b}
    assert ids == {10, 11}
    coco.content["annotations"] = []
    with pytest.raises(ValueError, match=r"no image has an object to learn from.*pseudo-label"):
        batches(CocoDataset(coco.json_file), 1, filter_empty=True)


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_evaluation_is_ordered_and_shared_without_duplicates(dataset, world_size):
    ids = []
    for rank in range(world_size):
        loader = build_test_loader(
            dataset, NoisyMapper(), batch_size=2, rank=rank, world_size=world_size
        )
        found = [[s["image_id"] for s in batch] for batch in loader]
        assert len(found) == len(loader)
        ids += chain(*found)
    assert ids == list(range(10, 16))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_batch_size": 3, "world_size": 2, "rank": 0}, "positive multiple of .* 2"),
        ({"total_batch_size": 0}, "total_batch_size=0"),
        ({"seed": None}, "seed=None: expected a whole number"),
        ({"seed": -1}, "seed=-1"),
        ({"start_iteration": -1}, "start_iteration=-1"),
    ],
)
def test_wrong_arguments_are_named(dataset, arguments, message):
    arguments = {"total_batch_size": 4, "seed": 0} | arguments
    with pytest.raises(ValueError, match=message):
        build_train_loader(dataset, NoisyMapper(), **arguments)
