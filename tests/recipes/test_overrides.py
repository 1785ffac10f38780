from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from lowres_d2.recipes.overrides import apply_overrides

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.data import transforms as T
from omegaconf import DictConfig, OmegaConf
from torch import nn


class Part:
    def __init__(
        self,
        width: int,
        scale: int | float | str = 1,
        top: int | None = None,
        size_ranges: str | Mapping | Sequence = "coco",
        sides: int | tuple[int, int] = 240,
        stretch: Sequence[float] | int | float | list[float] = 1,
        free=240,
        list: Iterable[int] | int = (1, 2),
        each: dict[str, int] | Sequence[str] | None = None,
        file: Path | str | None = None,
        label: Literal["a", "b"] = "a",
    ):
        self.width = width


def number_of(items):
    return len(items)


def make():
    content = {
        "train": {"max_iter": 10, "lr": 0.1, "name": "a", "amp": False, "limit": None},
        "sizes": [1, 2],
        "part": L(Part)(
            width=3,
            scale=2,
            top=5,
            size_ranges="coco",
            number=L(number_of)(items=[1]),
            sides=240,
            stretch=1,
            free=240,
            list=[1, 2],
            each={"b": 1},
            file=None,
        ),
        "parts": [{"depth": 1}, L(Part)(width=4)],
        "weights": {"detector/loss_*": 1.0},
        "other": "${part}",
    }
    return DictConfig(content, flags={"allow_objects": True})


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.max_iter=20", "train.max_iter", 20),
        ("train.lr=1", "train.lr", 1.0),
        ("train.lr=1e-3", "train.lr", 1e-3),
        ("train.name=5", "train.name", "5"),
        ("train.name=a/b.pth", "train.name", "a/b.pth"),
        ("train.amp=true", "train.amp", True),
        ("train.limit=3", "train.limit", 3),
        ("weights.detector/loss_*=2", "weights.detector/loss_*", 2.0),
        ("+weights.detector/loss_cls=2", "weights.detector/loss_cls", 2),
        ("sizes=[3,4,5]", "sizes", [3, 4, 5]),
        ("sizes.0=7", "sizes", [7, 2]),
        ("sizes[1]=7", "sizes", [1, 7]),
        ("parts[1].width=7", "parts.1.width", 7),
        ("parts.0.depth=7", "parts.0.depth", 7),
        ("+parts[1].scale=7", "parts.1.scale", 7),
        ("train.name=007", "train.name", "007"),
        ("train.name='a (1).json'", "train.name", "a (1).json"),
        ("train.limit=null", "train.limit", None),
        ("part.scale=1.5", "part.scale", 1.5),
        ("part.scale=3/2", "part.scale", "3/2"),
        ("part.top=null", "part.top", None),
        ("part.sides=[160,240]", "part.sides", [160, 240]),
        ("part.stretch=[1.5,2]", "part.stretch", [1.5, 2]),
        ("part.stretch=0.5", "part.stretch", 0.5),
        ("part.free=[160,240]", "part.free", [160, 240]),
        ("part.list=5", "part.list", 5),
        ("part.each=[a,b]", "part.each", ["a", "b"]),
        ("part.each={b:7}", "part.each.b", 7),
        ("part.file=7", "part.file", "7"),
        ("part.file=a,b (1).pth", "part.file", "a,b (1).pth"),
        ("+part.label=007", "part.label", "007"),
        ("train.name=/home/josé/t.json", "train.name", "/home/josé/t.json"),
        ("train.name=/a/#1/&/x=y?.json", "train.name", "/a/#1/&/x=y?.json"),
        ("train.name=/a b/c,d/(e)/o'neil.json", "train.name", "/a b/c,d/(e)/o'neil.json"),
        ("train.name==", "train.name", "="),
        ("train.name=true", "train.name", "true"),
        ("train.name='[a], b'", "train.name", "[a], b"),
        ("train.limit=/データ/t.json", "train.limit", "/データ/t.json"),
        ("train.name=~/t.json", "train.name", "/home/me/t.json"),
        ("train.limit='~/t é.json'", "train.limit", "/home/me/t é.json"),
        ("sizes=['~/a.json','b é.json']", "sizes", ["/home/me/a.json", "b é.json"]),
        ("part.number=4", "part.number", 4),
        ("part.size_ranges={a:[0,8],b:[8,null]}", "part.size_ranges.b", [8, None]),
        ("part.size_ranges=[0,8,null]", "part.size_ranges", [0, 8, None]),
        ("train={max_iter:3,lr:1}", "train.max_iter", 3),
        ("train={max_iter:3,lr:1}", "train.lr", 1.0),
        ("part={_target_:builtins.dict,b:2}", "part.b", 2),
        ("+train.fresh=1", "train.fresh", 1),
        ("+new.part.key=x", "new.part.key", "x"),
    ],
)
def test_override_sets_the_value_in_the_type_of_the_existing_one(text, key, value, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    cfg = make()
    apply_overrides(cfg, [text])
    found = OmegaConf.select(cfg, key)
    assert found == value
    assert type(found) is type(value) or isinstance(value, list)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("train.max_itr=20", KeyError, "train.max_iter"),
        ("trian.max_iter=20", KeyError, "train.max_iter"),
        ("max_iter=20", KeyError, "train.max_iter"),
        ("+train.max_iter=20", KeyError, "write train.max_iter="),
        ("train.max_iter=many", ValueError, "an integer"),
        ("train.max_iter=1.5", ValueError, "an integer"),
        ("train.max_iter=true", ValueError, "an integer"),
        ("train.amp=1", ValueError, "true or false"),
        ("train.lr=fast", ValueError, "a number"),
        ("sizes=3", ValueError, "a list"),
        ("train.max_iter", ValueError, "key=value"),
        ("train.name=[a](1).json", ValueError, "quotes"),
        ("train.name={a}", ValueError, "quotes"),
        ("train.max_iter=5 000", ValueError, "an integer"),
        ("train.limit=a,b", ValueError, "text with a comma in quotes"),
        ("part.stretch=null", ValueError, "an integer"),
        ("part.sides=wide", ValueError, "an integer"),
        ("part.free=wide", ValueError, "an integer"),
        ("part.free=[a,b]", ValueError, "an integer"),
        ("=3", ValueError, "only key=value"),
        ("++train.lr=3", ValueError, "only key=value"),
        ("train.max_iter=1,2", ValueError, r"\[1,2\]"),
        ("train.max_iter=null", ValueError, "an integer"),
        ("train.lr=null", ValueError, "a number"),
        ("train.name=null", ValueError, "a string"),
        ("train.amp=null", ValueError, "true or false"),
        ("sizes=null", ValueError, "a list"),
        ("train=null", ValueError, "train is a dict with"),
        ("train=3", ValueError, "dict with max_iter"),
        ("train={max_itr:3}", KeyError, "train.max_iter"),
        ("part=3", ValueError, "call of Part"),
        ("part=null", ValueError, "call of Part"),
        ("part.width=1.5", ValueError, "an integer"),
        ("part.number=null", ValueError, "call of number_of"),
        ("parts[1].widht=7", KeyError, "parts.1.width"),
        ("parts.0.detph=7", KeyError, "parts.0.depth"),
        ("parts[2].width=7", KeyError, "no such key"),
        ("sizes.2=7", KeyError, "no such key"),
        ("train.max_iter.x=7", KeyError, "the value 10"),
        ("+train.max_iter.x=7", KeyError, "the value 10"),
        ("other.width=7", KeyError, r"\$\{part\}"),
        ("~train.lr", ValueError, "only key=value"),
    ],
)
def test_wrong_override_names_key_and_remedy(text, error, words):
    cfg = make()
    with pytest.raises(error, match=words) as caught:
        apply_overrides(cfg, [text])
    assert cfg == make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "argument", "old", "text"),
    [
        (T.ResizeShortestEdge, "short_edge_length", 240, "[160,240]"),
        (T.ResizeShortestEdge, "short_edge_length", [160, 240], "200"),
        (nn.Conv2d, "kernel_size", 3, "[3,5]"),
        (nn.Conv2d, "padding", 1, "same"),
        (torch.optim.AdamW, "betas", [0.9, 0.99], "[0.8,0.9]"),
    ],
)
def test_what_real_calls_take(call, argument, old, text):
    """Some of them declare types, upstream's do not; the override goes by what there is."""
    cfg = OmegaConf.create({"a": L(call)(**{argument: old})}, flags={"allow_objects": True})
    apply_overrides(cfg, [f"a.{argument}={text}"])
    assert str(cfg.a[argument]).replace(" ", "") == text
