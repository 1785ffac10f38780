import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.solver import get_default_optimizer_params
from torch import nn


@pytest.fixture
def model():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2), nn.LayerNorm(2))
    net[2].weight = net[0].weight  # shared
    net[2].bias.requires_grad = False
    return net


def by_name(model, **kwargs):
    """Hyperparameters of each parameter, from the groups."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {}
    for group in get_default_optimizer_params(model, **kwargs):
        for parameter in group["params"]:
            assert names[parameter] not in found
            found[names[parameter]] = {k: v for k, v in group.items() if k != "params"}
    return found


TRAINABLE = ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"]


def test_each_trainable_parameter_is_there_once_and_groups_are_joined(model):
    assert sorted(by_name(model)) == sorted(TRAINABLE)
    assert len(get_default_optimizer_params(model, base_lr=1.0, weight_decay=0.1)) == 1
    assert all(values == {} for values in by_name(model).values())


def test_norm_and_bias_rules(model):
    found = by_name(
        model,
        base_lr=1.0,
        weight_decay=0.1,
        weight_decay_norm=0.0,
        bias_lr_factor=2.0,
        weight_decay_bias=0.05,
    )
    assert found["0.weight"] == {"lr": 1.0, "weight_decay": 0.1}
    assert found["1.weight"] == found["3.weight"] == {"lr": 1.0, "weight_decay": 0.0}
    for bias in ("0.bias", "1.bias", "3.bias"):
        assert found[bias] == {"lr": 2.0, "weight_decay": 0.05}


def test_factor_by_name_then_overrides(model):
    found = by_name(
        model,
        base_lr=1.0,
        lr_factor_func=lambda name: 0.5 if name.startswith("0.") else 1.0,
        overrides={"bias": {"lr": 9.0}},
    )
    assert found["0.weight"] == {"lr": 0.5}
    assert found["1.weight"] == {"lr": 1.0}
    assert found["0.bias"] == {"lr": 9.0}


@pytest.mark.parametrize(
    "kwargs",
    [
        {"bias_lr_factor": 2.0},
        {"weight_decay_bias": 0.0, "overrides": {"bias": {"lr": 1.0}}},
        {"lr_factor_func": lambda name: 1.0},
    ],
)
def test_contradictions_are_refused(model, kwargs):
    with pytest.raises(ValueError, match=r"base_lr|bias"):
        get_default_optimizer_params(model, **kwargs)


def test_callers_overrides_are_not_changed(model):
    overrides = {"weight": {"weight_decay": 0.3}}
    get_default_optimizer_params(model, weight_decay_bias=0.0, overrides=dict(overrides))
    assert overrides == {"weight": {"weight_decay": 0.3}}


def test_groups_go_into_an_optimizer(model):
    groups = get_default_optimizer_params(model, base_lr=0.1, weight_decay_norm=0.0)
    optimizer = torch.optim.SGD(groups, lr=0.3, momentum=0.9, weight_decay=0.2)
    decays = {group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {0.0, 0.2}
