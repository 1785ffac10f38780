import copy
import pickle

import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.structures import Boxes, Instances


def make(count: int = 3) -> Instances:
    return Instances(
        (20, 30),
        boxes=Boxes(torch.arange(4.0 * count).reshape(count, 4)),
        scores=torch.arange(float(count)),
        names=[str(i) for i in range(count)],
    )


def test_fields_are_attributes():
    instances = make()
    instances.extra = torch.zeros(3)
    assert instances.has("extra") and instances.get("extra") is instances.extra
    instances.remove("extra")
    assert not instances.has("extra") and instances.image_size == (20, 30)
    with pytest.raises(AttributeError, match="extra"):
        _ = instances.extra


def test_fields_have_one_length():
    instances = make()
    with pytest.raises(AssertionError):
        instances.labels = [1, 2]
    assert len(instances) == 3


@pytest.mark.parametrize(
    ("index", "names"),
    [(0, ["0"]), (-1, ["2"]), (slice(1, None), ["1", "2"]), (slice(0, 0), [])],
)
def test_index_and_slice(index, names):
    selected = make()[index]
    assert selected.names == names and len(selected.boxes) == len(names)
    assert selected.image_size == (20, 30)


@pytest.mark.parametrize("index", [3, -4])
def test_index_out_of_range(index):
    with pytest.raises(IndexError):
        make()[index]


def test_mask_and_index_tensor():
    instances = make()
    instances.remove("names")
    assert instances[torch.tensor([True, False, True])].scores.tolist() == [0, 2]
    assert instances[torch.tensor([2, 2, 1])].scores.tolist() == [2, 2, 1]
    assert len(instances[torch.zeros(3, dtype=torch.bool)]) == 0


def test_cat_joins_each_kind_of_field():
    joined = Instances.cat([make(3), make(2)])
    assert len(joined) == 5 and joined.names == ["0", "1", "2", "0", "1"]
    assert isinstance(joined.boxes, Boxes) and joined.scores.tolist() == [0, 1, 2, 0, 1]


def test_cat_refuses_different_sizes():
    with pytest.raises(AssertionError):
        Instances.cat([make(), Instances((1, 1), scores=torch.zeros(1))])


def test_cat_refuses_unknown_types():
    instances = Instances((1, 1), text="ab")
    with pytest.raises(ValueError, match=r"(?s).*"):
        Instances.cat([instances, instances])


def test_to_moves_what_can_move():
    moved = make().to("meta")
    assert moved.boxes.device.type == "meta" and moved.names == ["0", "1", "2"]


def test_iteration_and_length_without_fields_are_errors():
    with pytest.raises(NotImplementedError):
        iter(make())
    with pytest.raises(NotImplementedError):
        len(Instances((1, 1)))


def test_copies_and_pickles():
    for twin in (copy.deepcopy(make()), pickle.loads(pickle.dumps(make()))):
        assert str(twin) == str(make())
        assert "num_instances=3" in str(twin) and "image_height=20" in str(twin)
