import re

from lowres_d2.engine.checkpoint import RunState
from lowres_d2.engine.stage_checks import DeadChannelWarning, NoDeadChannels
from lowres_d2.engine.stages import (
    Stage,
    StageSchedule,
    lengths_after_resume,
    stage_multiplier,
    with_lengths,
)
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity
from lowres_d2.modeling.resample.learned import LearnedDownsampler

import pytest
import torch
from detectron2.utils.events import EventStorage
from fvcore.common.param_scheduler import ConstantParamScheduler, LinearParamScheduler
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.back = nn.Linear(2, 1)
        self.frozen = nn.Linear(1, 1).requires_grad_(False)

    def forward(self, batch):
        pass


class Trainer:
    iter = 0


STAGES = [
    Stage("first", 3, trainable=["front.*"], eval_modules=["norm"]),
    Stage("second", 2),
]


def make_hook(stages=STAGES, max_iter=5):
    model = Network()
    state = RunState(model, "data")
    hook = StageSchedule(model, with_lengths(stages, max_iter), state)
    hook.trainer = Trainer()
    return model, state, hook


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_stage_trains_its_parameters_and_never_what_the_recipe_froze():
    model, state, hook = make_hook()
    hook.before_step()
    assert trainable(model) == {"front.weight", "front.bias"}
    assert state.stage == "first"
    hook.trainer.iter = 3
    hook.before_step()
    assert trainable(model) == {n for n, _ in model.named_parameters() if "frozen" not in n}
    assert state.stage == "second"


def test_parameters_that_a_stage_freezes_do_not_change_under_momentum_and_decay():
    model, _, hook = make_hook()
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=1, momentum=0.9, weight_decay=0.1
    )
    for parameter in model.parameters():  # as after an iteration of the stage before
        parameter.grad = torch.ones_like(parameter)
    before = model.back.weight.clone()
    hook.before_step()
    assert model.back.weight.grad is None
    model.front(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(model.back.weight, before)


def test_modules_stay_in_eval_mode_after_an_evaluation():
    model, _, hook = make_hook()
    hook.before_step()
    assert model.training and not model.norm.training
    model.train()
    hook.trainer.iter = 1
    hook.before_step()
    assert not model.norm.training
    hook.trainer.iter = 3
    hook.before_step()
    assert model.norm.training


def test_resuming_inside_a_stage_applies_it():
    model, state, hook = make_hook()
    hook.trainer.iter = 4
    hook.before_step()
    assert state.stage == "second"
    assert "back.weight" in trainable(model)


def test_each_stage_has_its_own_learning_rate_curve():
    default = LinearParamScheduler(1.0, 0.0)
    curve = stage_multiplier(
        [Stage("a", 30, schedule=ConstantParamScheduler(0.5)), Stage("b", 10)], default
    )
    assert curve(0.0) == curve(0.74) == 0.5
    assert curve(0.75) == pytest.approx(1.0)
    assert curve(0.875) == pytest.approx(0.5)
    assert stage_multiplier([], default) is default


def test_a_stage_continues_the_curve_of_the_previous_one():
    default = LinearParamScheduler(1, 0)
    stages = [Stage("a", 20), Stage("b", 30), Stage("c", 50, continues=True)]
    together = stage_multiplier([Stage("a", 20), Stage("b", 80)], default)
    curve = stage_multiplier(stages, default)
    for progress in (0.0, 0.1, 0.2, 0.49, 0.5, 0.9):
        assert curve(progress) == pytest.approx(together(progress))
    assert curve(0.5) == pytest.approx(1 - 30 / 80)
    with pytest.raises(ValueError, match=r"\[c\].*schedule of its own"):
        Stage("c", 50, continues=True, schedule=default)


def test_a_stage_of_no_length_takes_what_the_others_leave():
    stages = with_lengths([Stage("a", 2), Stage("rest"), Stage("c", 1)], 10)
    assert [stage.iterations for stage in stages] == [2, 7, 1]


SHARES = [Stage("a", 0.25), Stage("b", 0.25), Stage("c", 0.5)]


def resumed(stages, max_iter, lengths, start):
    """Lengths of the stages of a run that was planned with others, and has done ``start``."""
    plan = [(stage.name, length) for stage, length in zip(stages, lengths, strict=True)]
    ends = [sum(lengths[: k + 1]) for k in range(len(lengths))]
    last = stages[min(sum(start - 1 >= end for end in ends), len(stages) - 1)].name
    saved = {"stage": last, "stages": plan}
    return [s.iterations for s in lengths_after_resume(stages, max_iter, saved, start)]


@pytest.mark.parametrize(
    ("start", "max_iter", "expected"),
    [
        (100, 100, [25, 25, 50]),  # the same run again
        (100, 800, [25, 25, 750]),  # a finished run is continued: its last stage becomes longer
        (60, 800, [25, 25, 750]),
        (50, 800, [25, 25, 750]),  # at the end of a stage, which is over
        (49, 825, [25, 267, 533]),  # inside the second: what is left is shared out as 1 to 2
        (25, 40, [25, 5, 10]),
        (24, 800, [200, 200, 400]),  # inside the first
        (60, 64, [25, 25, 14]),
    ],
)
def test_stages_that_are_over_keep_their_lengths_in_a_longer_or_shorter_run(
    start, max_iter, expected
):
    assert resumed(SHARES, max_iter, [25, 25, 50], start) == expected


def test_shares_beside_lengths_in_iterations_and_the_rest():
    mixed = [Stage("a", 0.5), Stage("b", 20), Stage("c", 0.4)]
    assert resumed(mixed, 200, [50, 20, 30], 60) == [50, 20, 130]
    rest = [Stage("a", 0.5), Stage("b", 0.1), Stage("c")]
    assert resumed(rest, 200, [50, 10, 40], 55) == [50, 20, 130]
    assert resumed([Stage("a", 10), Stage("b")], 200, [10, 90], 100) == [10, 190]
    # Fewer iterations than the run has done: the run itself says so.
    assert resumed(SHARES, 40, [25, 25, 50], 60) == [10, 10, 20]


def test_a_run_never_falls_back_into_an_earlier_stage():
    iterations = [Stage("a", 50), Stage("b", 150)]
    with pytest.raises(ValueError, match=r"train\.stages\.0\.iterations=50 \(a\).* set it to 10"):
        resumed(iterations, 200, [10, 90], 60)
    old = {"stage": "c"}  # of a version that did not save the lengths
    with pytest.raises(ValueError, match=r"saved in stage 'c', after 60 iterations.*back into 'a'"):
        lengths_after_resume(SHARES, 800, old, 60)
    assert [s.iterations for s in lengths_after_resume(SHARES, 100, old, 60)] == [25, 25, 50]
    assert lengths_after_resume([], 800, {"stage": ""}, 60) == []
    renamed = [Stage("x", 0.25), Stage("b", 0.25), Stage("c", 0.5)]
    with pytest.raises(ValueError, match=r"set train\.stages\.0\.iterations, train\.stages\.1"):
        lengths_after_resume(renamed, 800, {"stage": "c", "stages": [["a", 25]]}, 60)


def test_a_stage_is_checked_after_its_last_iteration_only():
    calls = []

    def check(model, batch):
        calls.append((hook.trainer.iter, batch))
        assert model is network
        if hook.trainer.iter == 4:
            raise ValueError("all is lost")

    network, _, hook = make_hook([Stage("a", 3, check=check), Stage("b", 2, check=check)])

    def step(iteration):
        hook.trainer.iter = iteration
        hook.before_step()
        network([f"batch {iteration}"])
        hook.after_step()

    for iteration in range(4):
        step(iteration)
    assert calls == [(2, ["batch 2"])]
    with pytest.raises(ValueError, match="at the end of stage 'b': all is lost"):
        step(4)


@pytest.mark.parametrize("dead", [[], [1], [0, 2]])
def test_dead_channels_are_named(dead):
    down = LearnedDownsampler(4)
    with torch.no_grad():
        down.layers[-1].bias[dead] = -100
    model = LowResDetector(nn.Linear(1, 1), down)
    batch = [{"image": image} for image in torch.full((2, 3, 16, 16), 90, dtype=torch.uint8)]
    if not dead:
        assert NoDeadChannels()(model, batch) is None
        return
    with pytest.raises(ValueError, match=rf"channels \[{str(dead)[1:-1]}\] .*init='box'") as caught:
        NoDeadChannels()(model, batch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("resampler", [LearnedDownsampler(2), Identity()])
def test_channels_that_die_later_are_warned_of(resampler, caplog):
    model = LowResDetector(nn.Identity(), resampler)
    hook = DeadChannelWarning(model, 2)
    hook.trainer = Trainer()
    hook.trainer.max_iter = 5
    batch = [{"image": torch.full((3, 16, 16), 90, dtype=torch.uint8)}]
    for hook_of_model in model._forward_pre_hooks.values():
        hook_of_model(model, (batch,))
    found = []
    with EventStorage() as hook.trainer.storage:
        for iteration in range(5):
            if iteration == 2 and resampler.factor == 2:
                with torch.no_grad():
                    resampler.layers[-1].bias[1] = -100
            hook.trainer.iter = iteration
            caplog.clear()
            hook.after_step()
            found.append([*caplog.messages])
        counts = hook.trainer.storage.latest().get("dead_channels", (None,))[0]
    if resampler.factor == 1:
        assert not any(found) and counts is None
        return
    assert [len(lines) for lines in found] == [0, 0, 0, 1, 1] and counts == 1
    assert "model.resampler: channels [1] of the thumbnails are dead" in found[-1][0]


@pytest.mark.parametrize("model", [nn.Linear(1, 1), LowResDetector(nn.Linear(1, 1), Identity())])
def test_nothing_to_check_for_dead_channels_is_an_error(model):
    with pytest.raises(ValueError, match="no learned downsampler"):
        NoDeadChannels()(model, [])


@pytest.mark.parametrize(
    ("stages", "max_iter", "words"),
    [
        (STAGES, 6, "iterations of train.stages add up to 5, train.max_iter is 6"),
        ([Stage("a", 5), Stage("rest")], 5, r"no iteration for train.stages.1 \(rest\)"),
        ([Stage("a"), Stage("b")], 5, "one of them may be None"),
        ([Stage("a", 5, continues=True)], 5, "there is no stage before the first one"),
        ([Stage("x", 5, trainable=["fromt.*"])], 5, "'fromt.*' matches nothing"),
        ([Stage("x", 5, eval_modules=["bn"])], 5, "'bn' matches nothing"),
    ],
)
def test_invalid_stages_are_refused(stages, max_iter, words):
    with pytest.raises(ValueError, match=words.replace("*", r"\*")):
        make_hook(stages, max_iter)


@pytest.mark.parametrize(
    ("lengths", "max_iter", "expected"),
    [
        ([0.25, None], 8, [2, 6]),
        ([0.25, None, 0.5], 2000, [500, 500, 1000]),
        ([0.1, None], 184850, [18485, 166365]),
        ([2 / 3, None], 90000, [60000, 30000]),
        ([1 / 3, 1 / 3, 1 / 3], 10, [3, 3, 4]),
        ([0.5, 0.5], 3, [2, 1]),
        ([0.001, None], 5, [1, 4]),
        ([0.5, 4, None], 20, [10, 4, 6]),
    ],
)
def test_lengths_may_be_shares_of_the_run(lengths, max_iter, expected):
    stages = [Stage(f"s{k}", length) for k, length in enumerate(lengths)]
    assert [stage.iterations for stage in with_lengths(stages, max_iter)] == expected
    assert [stage.iterations for stage in stages] == lengths  # they fit other runs, too


@pytest.mark.parametrize("length", [0, -1, 0.0, 1.0, 1.5, -0.5, float("nan"), "3"])
def test_a_length_is_iterations_or_a_share(length):
    with pytest.raises(ValueError, match=r"train.stages\[a\].iterations is"):
        with_lengths([Stage("a", length), Stage("b")], 10)


def test_lengths_that_do_not_fit_say_which_keys_to_set():
    stages = [Stage("a", 50), Stage("b", 20), Stage("c", 800)]
    with pytest.raises(ValueError) as caught:
        with_lengths(stages, 70)
    text = str(caught.value)
    assert "add up to 870, train.max_iter is 70" in text
    assert "train.stages.0.iterations=50 (a), train.stages.1.iterations=20 (b)" in text
    assert "train.stages.2.iterations=800 (c)" in text
    with pytest.raises(ValueError, match=r"add up to 8, train\.max_iter is 10"):
        with_lengths([Stage("a", 0.3), Stage("b", 0.5)], 10)


@pytest.mark.parametrize(
    ("lengths", "max_iter", "keys"),
    [
        ([3, None], 3, "train.stages.0.iterations=3 (a)"),
        ([0.9, 1, None], 4, "train.stages.0.iterations=0.9 (a), train.stages.1.iterations=1 (b)"),
        ([None, 0.5], 1, "train.stages.1.iterations=0.5 (b)"),
        ([0.5, 0.5], 1, "train.stages.0.iterations=0.5 (a)"),
    ],
)
def test_a_run_too_short_for_its_stages_says_how_long_it_must_be(lengths, max_iter, keys):
    stages = [Stage(name, length) for name, length in zip("abc", lengths, strict=False)]
    with pytest.raises(ValueError, match="leaves no iteration") as caught:
        with_lengths(stages, max_iter)
    text = str(caught.value)
    assert f"({keys})" in text and "None" not in text
    enough = int(re.search(r"set train\.max_iter=(\d+) or more", text)[1])
    assert sum(stage.iterations for stage in with_lengths(stages, enough)) == enough
    with pytest.raises(ValueError, match="leaves no iteration"):
        with_lengths(stages, enough - 1)


def test_shares_that_leave_nothing_in_any_run_are_said():
    with pytest.raises(ValueError, match="add up to less than 1"):
        with_lengths([Stage("a", 0.5), Stage("b", 0.5), Stage("c")], 100)
