import logging

from lowres_d2.engine.hooks.best import BestWeights
from lowres_d2.engine.hooks.ema import WeightAverage
from lowres_d2.engine.hooks.gradients import GradientClipping
from lowres_d2.engine.hooks.last_iteration import LastIterationOnce
from lowres_d2.engine.hooks.loader_counts import LoaderCounts
from lowres_d2.modeling.checkpoint_keys import averaged_weights
from lowres_d2.modeling.weights import load_weights

import pytest
import torch
from detectron2.engine import HookBase, SimpleTrainer
from detectron2.engine.hooks import LRScheduler
from fvcore.common.checkpoint import Checkpointer
from torch import nn


class Slope(nn.Module):
    """A loss whose gradient is (3, 4), of norm 5."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, batch):
        return {"loss": self.weight @ torch.tensor([3.0, 4.0])}


class Loader(list):
    counts = {"num_dropped_boxes": 3, "num_skipped_images": 0}


def train(model, hooks, steps=1, rate=1.0):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    trainer = SimpleTrainer(model, Loader([[]] * steps), optimizer)
    trainer.register_hooks(hooks)
    trainer.train(0, steps)
    return trainer


@pytest.mark.parametrize(
    ("kind", "limit", "moved"),
    [("norm", 10.0, (-3, -4)), ("norm", 1.0, (-0.6, -0.8)), ("value", 3.5, (-3, -3.5))],
)
def test_gradients_are_clipped_before_the_optimizer_step(kind, limit, moved):
    model = Slope()
    trainer = train(model, [GradientClipping(kind, limit)])
    assert model.weight.tolist() == pytest.approx(moved)
    if kind == "norm":
        assert trainer.storage.latest()["gradient_norm"][0] == pytest.approx(5)


@pytest.mark.parametrize(("rate", "moved"), [(0.1, (-0.3, -0.4)), (2.0, (-0.5, -0.5)), (0, (0, 0))])
def test_adjustable_clipping_limits_what_a_step_moves(rate, moved):
    model = Slope()
    train(model, [GradientClipping("adjustable", 0.5)], rate=rate)
    assert model.weight.tolist() == pytest.approx(moved)


def test_adjustable_clipping_follows_each_groups_rate_and_its_schedule():
    model = nn.ModuleList([Slope(), Slope()])
    model.forward = lambda batch: {"loss": sum(part(batch)["loss"] for part in model)}
    groups = [
        {"params": [part.weight], "lr": lr} for part, lr in zip(model, (2.0, 0.1), strict=True)
    ]
    trainer = SimpleTrainer(model, Loader([[]] * 2), torch.optim.SGD(groups))
    multiplier = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, lambda k: 0.5**k)
    trainer.register_hooks([GradientClipping("adjustable", 0.5), LRScheduler(scheduler=multiplier)])
    trainer.train(0, 2)
    # Both iterations are clipped in the first group, none in the second.
    assert model[0].weight.tolist() == pytest.approx([-1, -1])
    assert model[1].weight.tolist() == pytest.approx([-0.45, -0.6])


def test_average_follows_its_formula():
    model = Slope()
    hook = WeightAverage(model, decay=0.75)
    train(model, [hook], steps=3)
    expected = torch.tensor([-3.0, -4.0])  # the first iteration copies
    for step in (2, 3):
        expected = 0.75 * expected + 0.25 * step * torch.tensor([-3.0, -4.0])
    assert torch.allclose(hook.model.weight, expected)
    stored = averaged_weights(hook.weights().state_dict())
    assert torch.equal(stored["weight"], hook.model.weight)
    assert model.weight.tolist() == [-9, -12]


@pytest.mark.parametrize("decay", [0, 1, 1.5])
def test_impossible_decay_is_refused(decay):
    with pytest.raises(ValueError, match=r"train\.ema\.decay"):
        WeightAverage(Slope(), decay)


def test_best_value_survives_a_restart():
    first = BestWeights(1, None, "bbox/AP")
    first.best_metric, first.best_iter = 40.0, 7
    second = BestWeights(1, None, "bbox/AP")
    second.load_state_dict(first.state_dict())
    assert (second.best_metric, second.best_iter) == (40.0, 7)


def test_a_run_resumed_after_its_last_iteration_counts_none():
    model = Slope()
    trainer = SimpleTrainer(model, Loader(), torch.optim.SGD(model.parameters(), lr=1))
    trainer.register_hooks([LastIterationOnce()])
    trainer.train(3, 3)
    assert trainer.iter == trainer.storage.iter == 3
    assert model.weight.tolist() == [0, 0]


class Results(HookBase):
    """An evaluation after every iteration, with given results."""

    def __init__(self, values):
        self._values = values

    def after_step(self):
        self.trainer.storage.put_scalar(
            "bbox/AP", self._values[self.trainer.iter], smoothing_hint=False
        )


@pytest.mark.parametrize(
    ("mode", "values", "best"), [("max", [2, 5, 5, 3], 5), ("min", [4, 2, 3], 2)]
)
def test_the_best_weights_file_knows_its_own_value(tmp_path, mode, values, best):
    model = Slope()
    checkpointer = Checkpointer(model, str(tmp_path))
    hook = BestWeights(1, checkpointer, "bbox/AP", mode=mode)
    checkpointer.add_checkpointable("best", hook)
    train(model, [Results(values), hook], steps=len(values))
    saved = torch.load(tmp_path / "model_best.pth")
    assert (saved["best"]["best_metric"], saved["best"]["best_iter"]) == (best, values.index(best))
    assert saved["iteration"] == values.index(best)
    steps = values.index(best) + 1
    assert saved["model"]["weight"].tolist() == [-3 * steps, -4 * steps]


class LastResult(HookBase):
    """An evaluation after training, as ``EvalHook`` makes it."""

    def after_train(self):
        self.trainer.storage.put_scalar("bbox/AP", 50.0, smoothing_hint=False)


def test_best_weights_of_the_end_have_as_many_iterations_as_the_run(tmp_path):
    model = Slope()
    checkpointer = Checkpointer(model, str(tmp_path))
    best = BestWeights(1, checkpointer, "bbox/AP")
    checkpointer.add_checkpointable("best", best)
    train(model, [LastResult(), best], steps=3)
    assert best.best_iter == 2
    assert torch.load(tmp_path / "model_best.pth")["best"]["best_iter"] == 2
    # A checkpoint has the index of the last iteration that it finished.
    assert torch.load(tmp_path / "model_best.pth")["iteration"] == 2
    assert load_weights(model, tmp_path / "model_best.pth").iterations == 3


def test_best_mode_other_than_max_or_min_is_refused():
    with pytest.raises(ValueError, match=r"train\.best\.mode='most': expected max or min"):
        BestWeights(1, None, "bbox/AP", mode="most")


def test_what_the_loader_dropped_is_logged_and_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        trainer = train(Slope(), [LoaderCounts()])
    assert trainer.storage.latest()["[metric]data/num_dropped_boxes"][0] == 3
    assert "num_dropped_boxes 3" in caplog.text
    assert "num_skipped_images" not in caplog.text
