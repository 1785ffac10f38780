"""Settings of a resumed run come from its recipe, moments from the checkpoint."""

import copy
import json

from lowres_d2.engine.hooks.best import BestWeights
from lowres_d2.engine.trainer_state import TrainerState
from lowres_d2.programs.train import main

import pytest
import torch
from detectron2.engine import SimpleTrainer, hooks
from detectron2.solver import get_default_optimizer_params
from fvcore.common.param_scheduler import LinearParamScheduler
from torch import nn


class Net(nn.Module):
    """A layer and a norm, whose loss has other gradients for each parameter."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(2, 3), nn.LayerNorm(3)

    def forward(self, batch):
        return {"loss": (self.norm(self.layer(torch.ones(2))) * torch.tensor([1.0, 2, 4])).sum()}


def trainer_of(model, kind=torch.optim.AdamW, norm_decay=0.0, **settings):
    decay = settings.get("weight_decay", 0.01)
    groups = get_default_optimizer_params(model, weight_decay=decay, weight_decay_norm=norm_decay)
    trainer = SimpleTrainer(model, [[]] * 99, kind(groups, **{"lr": 0.1} | settings))
    trainer.register_hooks([hooks.LRScheduler(scheduler=LinearParamScheduler(1.0, 0.5))])
    trainer.max_iter = 0  # upstream's has none before it trains
    return trainer


def saved(**settings):
    """State after three iterations, with the moments of each parameter by name."""
    model = Net()
    trainer = trainer_of(model, **settings)
    state = TrainerState(trainer, model)
    trainer.train(0, 3)
    return copy.deepcopy(state.state_dict()), moments(trainer, model)


def moments(trainer, model):
    return {n: copy.deepcopy(trainer.optimizer.state[p]) for n, p in model.named_parameters()}


def assert_same_moments(found, expected):
    for name, values in expected.items():
        assert all(torch.equal(value, found[name][key]) for key, value in values.items()), name


def resumed(state, **settings):
    model = Net()
    trainer = trainer_of(model, **settings)
    TrainerState(trainer, model).load_state_dict(state)
    return trainer, model


def test_every_option_is_the_recipes_and_every_moment_the_files():
    state, before = saved()
    new = dict(lr=0.02, weight_decay=0.5, betas=(0.5, 0.6), eps=1e-3, maximize=True)
    trainer, model = resumed(state, **new)
    assert_same_moments(moments(trainer, model), before)
    assert trainer.iter == 2
    for group in trainer.optimizer.param_groups:
        decay = 0.0 if group["params"][0] is model.norm.weight else 0.5
        assert {key: group[key] for key in new} == new | {"weight_decay": decay}
    trainer.train(3, 6)
    # The schedule continues at the iteration, and multiplies the new rate.
    rate, at = trainer.storage.history("lr").values()[0]
    assert (rate, at) == (pytest.approx(0.02 * 0.75), 3)


def test_moments_follow_their_parameters_into_other_groups():
    state, before = saved(norm_decay=0.0)
    assert len(state["optimizer"]["param_groups"]) == 2
    trainer, model = resumed(state, norm_decay=0.01)  # now all in one group
    assert len(trainer.optimizer.param_groups) == 1
    assert_same_moments(moments(trainer, model), before)
    del state["parameters"]  # as earlier versions saved it: nothing tells the order
    with pytest.raises(ValueError, match=r"groups of \[2, 2\] parameters, .* trains \[4\]"):
        resumed(state, norm_decay=0.01)


@pytest.mark.parametrize(
    ("kind", "old", "new", "words"),
    [
        (torch.optim.AdamW, {}, {"amsgrad": True}, "no max_exp_avg_sq: .* AdamW with these"),
        (torch.optim.RMSprop, {}, {"momentum": 0.9}, "no momentum_buffer: .* RMSprop with these"),
        (torch.optim.AdamW, {"amsgrad": True}, {}, None),
        (torch.optim.SGD, {"momentum": 0.9}, {"nesterov": True, "momentum": 0.5}, None),
    ],
)
def test_a_setting_that_needs_another_moment_is_refused_and_not_a_crash_later(
    kind, old, new, words
):
    state, _ = saved(kind=kind, **old)
    if words is None:
        resumed(state, kind=kind, **new)[0].train(3, 4)
        return
    with pytest.raises(ValueError, match=words):
        resumed(state, kind=kind, **new)


def test_other_trained_parameters_are_named():
    state, _ = saved()
    state["parameters"] = ["stem.weight", *state["parameters"][1:]]
    with pytest.raises(ValueError, match=r"other parameters than this recipe trains \(layer"):
        resumed(state)


class Scaled(SimpleTrainer):
    """Mixed precision's trainer, as far as its state goes."""

    grad_scaler = torch.amp.GradScaler("cpu", init_scale=8.0)

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.grad_scaler.load_state_dict(state["grad_scaler"])


def test_mixed_precision_can_be_switched_on_when_a_run_resumes():
    state, _ = saved()
    model = Net()
    trainer = Scaled(model, [], torch.optim.AdamW(model.parameters()))
    del state["parameters"]
    state["optimizer"]["param_groups"] = trainer.optimizer.state_dict()["param_groups"]
    TrainerState(trainer, model).load_state_dict(state)
    assert trainer.grad_scaler.get_scale() == 8


@pytest.mark.parametrize(("metric", "mode", "kept"), [
    ("bbox/AP", "max", True), ("bbox/AP50", "max", False), ("bbox/AP", "min", False),
])  # fmt: skip
def test_the_best_value_so_far_counts_for_its_own_metric_only(metric, mode, kept):
    first = BestWeights(1, None, "bbox/AP")
    first.best_metric, first.best_iter = 40.0, 7
    second = BestWeights(1, None, metric, mode)
    second.load_state_dict(first.state_dict())
    assert (second.best_metric, second.best_iter) == ((40.0, 7) if kept else (None, None))


def test_a_run_resumed_with_a_lower_rate_trains_with_it(toy_arguments, tmp_path):
    toy_arguments += ["train.log_period=1", "lr_multiplier.scheduler.end_value=1.0"]
    main([*toy_arguments, "train.max_iter=3", "optimizer.lr=0.002", "optimizer.weight_decay=0.01"])
    main(["--resume", *toy_arguments, "optimizer.lr=0.0001", "optimizer.weight_decay=0.5"])
    lines = (tmp_path / "run" / "metrics.json").read_text().splitlines()
    rates = {row["iteration"]: row["lr"] for row in map(json.loads, lines) if "lr" in row}
    assert rates[2] == pytest.approx(0.002)
    assert [rates[k] for k in (3, 4, 5)] == pytest.approx([0.0001] * 3)
    final = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    groups = final["trainer"]["optimizer"]["param_groups"]
    assert max(group["weight_decay"] for group in groups) == 0.5


def test_the_state_of_a_hook_that_is_off_is_kept_and_not_talked_of(caplog):
    model = Net()
    state = TrainerState(trainer_of(model), model).state_dict() | {"iteration": 2}
    best = {"best_metric": 3.0, "best_iter": 1}
    state["hooks"] = state.get("hooks", {}) | {"BestWeights": best}
    resumed = TrainerState(trainer_of(model), model)
    with caplog.at_level("WARNING"):
        resumed.load_state_dict(state)
    assert not caplog.records
    assert resumed.state_dict()["hooks"] == state["hooks"]
    evaluated = trainer_of(model)
    evaluated.register_hooks([BestWeights(1, None, "bbox/AP")])
    again = TrainerState(evaluated, model)
    again.load_state_dict(resumed.state_dict() | {"iteration": 2})
    assert again.state_dict()["hooks"]["BestWeights"]["best_metric"] == 3.0
