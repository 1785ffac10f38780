import itertools
import pickle

import lowres_d2  # noqa: F401
from lowres_d2 import detectron2_provider

import numpy as np
import pytest
import torch
from detectron2.data import DatasetFromList, MapDataset, ToIterableDataset
from detectron2.data.common import (
    AspectRatioGroupedDataset,
    set_default_dataset_from_list_serialize_method,
)
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler


def identity(batch):
    return batch


class Squares(IterableDataset):
    def __iter__(self):
        return (i * i for i in range(6))


@pytest.mark.parametrize("serialize", [True, False])
def test_a_list_comes_back_element_by_element(serialize):
    elements = [{"id": 3, "boxes": [1.5, 2]}, "text", None, {"array": np.arange(3)}]
    dataset = DatasetFromList(elements, serialize=serialize)
    assert len(dataset) == 4
    assert dataset[0] == elements[0] and dataset[1] == "text" and dataset[2] is None
    np.testing.assert_array_equal(dataset[3]["array"], [0, 1, 2])


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [({"serialize": False}, 0), ({"serialize": True}, 0), ({"copy": False, "serialize": False}, 9)],
)
def test_changing_an_element_reaches_the_list_only_without_copy(arguments, changed):
    dataset = DatasetFromList([{"x": 0}], **arguments)
    dataset[0]["x"] = 9
    assert dataset[0]["x"] == changed


def test_the_default_form_is_restored_after_its_context():
    with set_default_dataset_from_list_serialize_method(torch.tensor):
        assert torch.is_tensor(DatasetFromList([1, 2])[1])
    assert not torch.is_tensor(DatasetFromList([1, 2])[1])


@pytest.mark.skipif(detectron2_provider() == "upstream", reason="upstream leaves it changed")
def test_the_default_form_is_restored_after_an_error():
    with (
        pytest.raises(RuntimeError, match="inside"),
        set_default_dataset_from_list_serialize_method(torch.tensor),
    ):
        raise RuntimeError("inside")
    assert not torch.is_tensor(DatasetFromList([1, 2])[1])


def test_mapping_survives_pickling_with_a_lambda():
    dataset = pickle.loads(pickle.dumps(MapDataset([1, 2, 3], lambda x: x + 1)))
    assert [dataset[i] for i in range(len(dataset))] == [2, 3, 4]


def test_an_unusable_element_is_replaced_by_a_usable_one():
    dataset = MapDataset(list(range(10)), lambda x: x if x in (4, 7) else None)
    assert {dataset[i] for i in range(10)} == {4, 7}


def test_the_elements_that_fill_in_are_those_of_upstream():
    dataset = MapDataset(list(range(20)), lambda x: x if x % 2 else None)
    taken = [dataset[i] for i in range(0, 20, 2)]
    assert taken == [1, 11, 11, 5, 17, 3, 17, 19, 17, 3]  # from generator 42, unusable ones skipped


def test_an_iterable_data_set_stays_iterable_and_loses_unusable_elements():
    dataset = MapDataset(Squares(), lambda x: x if x % 2 else None)
    assert isinstance(dataset, IterableDataset)
    assert list(dataset) == [1, 9, 25]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_give_the_batches_in_the_order_of_the_sampler(workers):
    elements = list(range(24))
    dataset = ToIterableDataset(elements, SequentialSampler(elements), shard_chunk_size=4)
    loader = DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=identity)
    assert len(dataset) == 24
    assert list(itertools.chain.from_iterable(loader)) == elements


def test_batches_have_one_orientation_and_nothing_is_lost():
    sizes = [(2, 1), (1, 2), (1, 1), (3, 1), (4, 1), (5, 1), (1, 9)]  # width, height
    images = [{"width": w, "height": h, "id": i} for i, (w, h) in enumerate(sizes)]
    dataset = AspectRatioGroupedDataset(images, 2)
    assert [[p["id"] for p in batch] for batch in dataset] == [[1, 2], [0, 3], [4, 5]]
    # The tall one that was left waits for the next pass.
    assert [image["id"] for image in next(iter(dataset))] == [6, 1]
