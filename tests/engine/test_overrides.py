from lowres_d2.engine.overrides import apply_overrides

import pytest
from omegaconf import OmegaConf


def make():
    return OmegaConf.create(
        {
            "train": {"max_iter": 10, "lr": 0.1, "name": "a", "amp": False, "limit": None},
            "sizes": [1, 2],
        }
    )


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
        ("sizes=[3,4,5]", "sizes", [3, 4, 5]),
        ("sizes.0=7", "sizes", [7, 2]),
        ("+train.fresh=1", "train.fresh", 1),
        ("+new.part.key=x", "new.part.key", "x"),
    ],
)
def test_override_sets_the_value_in_the_type_that_stands_there(text, key, value):
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
        ("~train.lr", ValueError, "only key=value"),
    ],
)
def test_wrong_override_names_key_and_remedy(text, error, words):
    cfg = make()
    with pytest.raises(error, match=words) as caught:
        apply_overrides(cfg, [text])
    assert cfg == make()
    assert "\n" not in str(caught.value)
