from collections import Counter
from dataclasses import dataclass

import lowres_d2  # noqa: F401

import pytest
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.config.instantiate import dump_dataclass
from omegaconf import DictConfig, ListConfig


@dataclass
class Point:
    x: int = 0
    inner: "Point | None" = None


def record(**arguments):
    return arguments


def test_arguments_come_first_and_lists_are_walked():
    made = instantiate(L(record)(a=L(str)(), b=[L(int)(), 2], c={"_target_": "builtins.str"}))
    assert made["a"] == "" and list(made["b"]) == [0, 2] and made["c"] == ""


def test_mappings_without_target_stay():
    made = instantiate(L(record)(a={"inner": L(int)()}))
    assert isinstance(made["a"], DictConfig) and "_target_" in made["a"].inner


@pytest.mark.parametrize("value", [5, "text", [1, 2], {"a": 1}, None])
def test_other_values_come_back(value):
    assert instantiate(value) == value


def test_list_configs_stay_list_configs():
    made = instantiate(ListConfig([L(int)(), 3], flags={"allow_objects": True}))
    assert isinstance(made, ListConfig) and list(made) == [0, 3]


def test_interpolation_across_calls():
    cfg = L(record)(size=3, child=L(record)(size="${..size}"))
    cfg.size = 4
    assert instantiate(cfg)["child"]["size"] == 4


def test_dataclasses_as_target_and_as_value():
    assert instantiate(L(Point)(x=2)) == Point(2)
    assert instantiate(L(record)(p=Point(3)))["p"] == Point(3)
    dumped = dump_dataclass(Point(1, Point(2)))
    assert dumped["_target_"].endswith("Point") and dumped["inner"]["x"] == 2
    assert instantiate(dumped) == Point(1, Point(2))


def test_target_that_is_itself_a_call():
    class Adder:
        def __init__(self, first):
            self.first = first

        def __call__(self, second):
            return self.first + second

    assert instantiate(L(L(Adder)(first=3))(second=4)) == 7


@pytest.mark.parametrize("target", ["no_such_module.Thing", "collections.no_such_name", 3])
def test_targets_that_cannot_be_called(target):
    with pytest.raises((ImportError, TypeError, AssertionError)):
        instantiate({"_target_": target})


def test_wrong_argument_is_logged_by_name(caplog):
    with caplog.at_level("ERROR"), pytest.raises(TypeError):
        instantiate(L(Counter.most_common)(wrong=1))
    assert "most_common" in caplog.text
