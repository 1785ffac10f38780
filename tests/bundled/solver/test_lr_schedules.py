import math

import lowres_d2  # noqa: F401

import numpy as np
import pytest
import torch
from detectron2.solver import (
    LRMultiplier,
    WarmupCosineLR,
    WarmupMultiStepLR,
    WarmupParamScheduler,
)
from detectron2.solver.lr_scheduler import _get_warmup_factor_at_iter
from fvcore.common.param_scheduler import CosineParamScheduler, LinearParamScheduler
from torch import nn


@pytest.mark.parametrize(
    ("method", "iteration", "factor"),
    [("linear", 0, 0.1), ("linear", 50, 0.55), ("linear", 100, 1.0), ("constant", 99, 0.1)],
)
def test_the_warm_up_factor_of_an_iteration(method, iteration, factor):
    assert _get_warmup_factor_at_iter(method, iteration, 100, 0.1) == pytest.approx(factor)


def rates(make_schedule, iterations, lrs=(2.0, 0.5)):
    optimizer = torch.optim.SGD(
        [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs], lr=1.0
    )
    schedule = make_schedule(optimizer)
    rows = []
    for _ in range(iterations):
        rows.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return np.array(rows)


def warmed(values, factor, length, method="linear"):
    ramp = [factor * (1 - k / length) + k / length for k in range(length)]
    return [*(ramp if method == "linear" else [factor] * length), *values[length:]]


@pytest.mark.parametrize("method", ["linear", "constant"])
def test_multi_step_with_warm_up(method):
    def make(optimizer):
        return WarmupMultiStepLR(
            optimizer, [6, 8], warmup_factor=0.1, warmup_iters=4, warmup_method=method
        )

    multiple = warmed([1.0] * 6 + [0.1] * 2 + [0.01] * 2, 0.1, 4, method)
    np.testing.assert_allclose(rates(make, 10), np.outer(multiple, [2.0, 0.5]))


def test_cosine_with_warm_up():
    cosine = [0.5 * (1 + math.cos(math.pi * k / 10)) for k in range(10)]
    ramp = warmed([1.0] * 10, 0.2, 3)
    got = rates(lambda o: WarmupCosineLR(o, 10, warmup_factor=0.2, warmup_iters=3), 10)
    np.testing.assert_allclose(got[:, 0], 2 * np.multiply(cosine, ramp))


@pytest.mark.parametrize("rescale", [False, True])
def test_linear_warm_up_meets_the_schedule(rescale):
    inner = CosineParamScheduler(1.0, 0.0)
    schedule = WarmupParamScheduler(inner, 0.01, 0.2, "linear", rescale_interval=rescale)
    assert schedule(0.0) == pytest.approx(0.01)
    meeting = inner(0.0) if rescale else inner(0.2)
    assert schedule(0.2 - 1e-9) == pytest.approx(meeting)
    assert schedule(0.1) == pytest.approx((0.01 + meeting) / 2)
    after = inner(0.5) if rescale else inner(0.6)
    assert schedule(0.6) == pytest.approx(after)


def test_constant_warm_up_and_unknown_method():
    schedule = WarmupParamScheduler(LinearParamScheduler(2.0, 0.0), 0.5, 0.5, "constant")
    assert [schedule(x) for x in (0.0, 0.49, 0.5)] == pytest.approx([1.0, 1.0, 1.0])
    assert schedule(0.75) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="quadratic"):
        WarmupParamScheduler(LinearParamScheduler(1.0, 0.0), 0.5, 0.5, "quadratic")


def test_multiplier_scales_every_group_and_resumes():
    schedule = LinearParamScheduler(1.0, 0.0)
    whole = rates(lambda o: LRMultiplier(o, schedule, 8), 8)
    np.testing.assert_allclose(whole, np.outer(1 - np.arange(8) / 8, [2.0, 0.5]))

    def resumed(optimizer):
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return LRMultiplier(optimizer, schedule, 8, last_iter=4)

    np.testing.assert_allclose(rates(resumed, 3), whole[5:])


def test_multipliers_state_leaves_out_the_schedule():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    first = LRMultiplier(optimizer, LinearParamScheduler(1.0, 0.0), 8)
    assert first.state_dict() == {"base_lrs": [2.0], "last_epoch": 0}
    first.load_state_dict({"base_lrs": [4.0], "last_epoch": 3})
    assert first.get_lr() == [4.0 * (1 - 3 / 8)]


def test_other_schedulers_are_refused():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    with pytest.raises((TypeError, ValueError), match="ParamScheduler"):
        LRMultiplier(optimizer, lambda progress: 1.0, 8)
    with pytest.raises(ValueError, match="2, 1"):
        WarmupMultiStepLR(optimizer, [2, 1])
