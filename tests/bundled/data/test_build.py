import itertools
import logging

import lowres_d2  # noqa: F401
from lowres_d2 import detectron2_provider

import pytest
import torch
from detectron2.data import (
    DatasetCatalog,
    MetadataCatalog,
    build_batch_data_loader,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
    print_instances_class_histogram,
)
from detectron2.data.build import (
    filter_images_with_only_crowd_annotations,
    trivial_batch_collator,
)
from detectron2.data.samplers import TrainingSampler
from torch.utils.data import IterableDataset, SequentialSampler


def image(*categories, crowd=0):
    return {"annotations": [{"category_id": c, "iscrowd": crowd} for c in categories]}


@pytest.fixture
def register():
    names = []

    def make(name, dicts, **facts):
        DatasetCatalog.register(name, lambda: dicts)
        MetadataCatalog.get(name).set(**facts)
        names.append(name)
        return name

    yield make
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_images_without_a_learnable_object_are_dropped():
    kept = image(1)
    mixed = {"annotations": [{"iscrowd": 1}, {"category_id": 2}]}
    images = [kept, image(), image(3, crowd=1), mixed]
    assert filter_images_with_only_crowd_annotations(images) == [kept, mixed]


def test_data_sets_are_joined_in_order(register):
    names = [register(f"build_{i}", [image(i), image()], thing_classes=["a", "b"]) for i in (0, 1)]
    assert get_detection_dataset_dicts(names) == [image(0), image(1)]
    assert len(get_detection_dataset_dicts(names, filter_empty=False)) == 4
    assert get_detection_dataset_dicts("build_1") == [image(1)]


def test_data_sets_of_different_classes_are_not_joined(register):
    names = [register(f"build_{c}", [image(0)], thing_classes=[c]) for c in "ab"]
    with pytest.raises(ValueError):
        get_detection_dataset_dicts(names)
    assert len(get_detection_dataset_dicts(names, check_consistency=False)) == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_data_set_without_class_names_can_be_joined(register, order):
    names = [
        register("build_named", [image(0)], thing_classes=["a"]),
        register("build_nameless", [image(4)]),
    ]
    joined = get_detection_dataset_dicts([names[i] for i in order])
    assert joined == [[image(0), image(4)][i] for i in order]


@pytest.mark.skipif(detectron2_provider() == "upstream", reason="upstream joins them unseen")
def test_names_are_compared_past_a_data_set_without_names(register):
    register("build_first", [image(0)])
    for c in "ab":
        register(f"build_{c}", [image(0)], thing_classes=[c])
    with pytest.raises(ValueError, match=r"build_a.*build_b.*thing_classes differ"):
        get_detection_dataset_dicts(["build_first", "build_a", "build_b"])


def test_a_torch_data_set_is_passed_on(register):
    dataset = torch.utils.data.TensorDataset(torch.arange(3))
    assert get_detection_dataset_dicts(register("build_torch", dataset)) is dataset


def test_the_histogram_counts_objects_without_crowds(caplog):
    with caplog.at_level(logging.INFO):
        print_instances_class_histogram(
            [image(0, 0, 1), image(1, crowd=1), image(2)], ["ant", "bee", "a very long name"]
        )
    lines = [line for line in caplog.text.splitlines() if "ant" in line]
    cells = [cell.strip() for cell in lines[0].split("|") if cell.strip()]
    assert cells[:4] == ["ant", "2", "bee", "1"]
    assert "a very long.." in cells[4] and cells[5] == "1"


@pytest.mark.parametrize("grouping", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_training_batches_follow_the_sampler_and_never_end(grouping, workers):
    images = [{"width": 2, "height": 1, "id": i} for i in range(6)]
    loader = build_detection_train_loader(
        images,
        mapper=lambda d: d["id"] if not grouping else d,
        sampler=TrainingSampler(6, shuffle=False),
        total_batch_size=2,
        aspect_ratio_grouping=grouping,
        num_workers=workers,
    )
    batches = list(itertools.islice(loader, 5))
    ids = [[d["id"] if grouping else d for d in batch] for batch in batches]
    if grouping and workers:  # workers take two images at a time and give one each in turn
        assert sorted(itertools.chain(*ids[:2])) == [0, 1, 2, 3]
    else:
        assert ids == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]


def test_training_collates_where_asked():
    loader = build_detection_train_loader(
        list(range(4)),
        mapper=None,
        sampler=TrainingSampler(4, shuffle=False),
        total_batch_size=4,
        aspect_ratio_grouping=False,
        collate_fn=sum,
    )
    assert next(iter(loader)) == 6


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_evaluation_sees_each_image_once_in_order(batch_size):
    loader = build_detection_test_loader(
        list(range(5)), mapper=lambda x: x * 10, batch_size=batch_size
    )
    batches = list(loader)
    assert list(itertools.chain(*batches)) == [0, 10, 20, 30, 40]
    assert len(batches) == len(loader) == -(-5 // batch_size)


def test_an_iterable_data_set_brings_its_own_order():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(100))

    loader = build_detection_train_loader(
        Stream(), mapper=lambda x: -x, total_batch_size=3, aspect_ratio_grouping=False
    )
    assert next(iter(loader)) == [0, -1, -2]


@pytest.mark.parametrize(("drop_last", "sizes"), [(True, [2, 2]), (False, [2, 2, 1])])
def test_the_last_incomplete_batch(drop_last, sizes):
    loader = build_batch_data_loader(
        list(range(5)), SequentialSampler(range(5)), 2, num_workers=0, drop_last=drop_last
    )
    assert [len(batch) for batch in loader] == sizes
    assert len(loader) == len(sizes)


def test_one_process_may_state_its_own_batch_size():
    loader = build_batch_data_loader(
        range(6), SequentialSampler(range(6)), None, single_gpu_batch_size=3
    )
    assert list(loader) == [[0, 1, 2], [3, 4, 5]]


def test_the_collator_leaves_lists_alone():
    batch = [{"a": 1}, {"b": 2}]
    assert trivial_batch_collator(batch) is batch
