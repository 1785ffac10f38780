import itertools

import lowres_d2

import pytest
import torch
from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, TrainerBase
from torch import nn

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="upstream needs CUDA or differs here"
)


class Quadratic(nn.Module):
    """Loss sum((w - batch)^2), in two parts."""

    def __init__(self, split=True):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.split = split

    def forward(self, batch):
        parts = (self.weight - batch) ** 2
        return {"loss_a": parts[0], "loss_b": parts[1]} if self.split else parts.sum()


def batches(start=0):
    return (torch.tensor([0.1 * k, -0.2 * k]) for k in itertools.count(start))


def make(trainer_class=SimpleTrainer, split=True, lr=0.1, **kwargs):
    model = Quadratic(split)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return trainer_class(model, batches(), optimizer, **kwargs)


class Recorder(HookBase):
    def __init__(self, calls):
        self.calls = calls

    def _note(self, moment):
        assert self.trainer.iter == self.trainer.storage.iter
        self.calls.append((moment, self.trainer.iter))

    def before_train(self):
        self._note("before_train")

    def after_train(self):
        self._note("after_train")

    def before_step(self):
        self._note("before_step")

    def after_backward(self):
        self._note("after_backward")

    def after_step(self):
        self._note("after_step")


def test_hooks_are_called_in_order_with_the_storage_at_the_trainers_iteration():
    calls = []
    trainer = make()
    trainer.register_hooks([None, Recorder(calls)])
    trainer.train(3, 5)
    steps = [(m, k) for k in (3, 4) for m in ("before_step", "after_backward", "after_step")]
    assert calls == [("before_train", 3), *steps, ("after_train", 5)]


def test_after_train_is_called_when_an_iteration_fails():
    class Failing(TrainerBase):
        def run_step(self):
            raise RuntimeError("out of luck")

    calls = []
    trainer = Failing()
    trainer.register_hooks([Recorder(calls)])
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.train(0, 3)
    assert calls[-1] == ("after_train", 0)


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_simple_trainer_trains_as_a_plain_loop(split, before):
    trainer = make(split=split, zero_grad_before_forward=before)
    trainer.train(0, 6)

    weight, velocity = torch.tensor([1.0, 2.0]), torch.zeros(2)
    for batch, _ in zip(batches(), range(6), strict=False):
        velocity = 0.9 * velocity + 2 * (weight - batch)
        weight = weight - 0.1 * velocity
    torch.testing.assert_close(trainer.model.weight.detach(), weight)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_losses_and_their_sum_are_recorded(asynchronous):
    trainer = make(gather_metric_period=2, async_write_metrics=asynchronous, lr=0.0)
    trainer.train(0, 4)
    history = {name: trainer.storage.history(name).values() for name in ("loss_a", "total_loss")}
    assert [iteration for _, iteration in history["loss_a"]] == [1, 3]
    expected_a = [(1 - 0.1 * k) ** 2 for k in (1, 3)]
    expected = [a + (2 + 0.2 * k) ** 2 for a, k in zip(expected_a, (1, 3), strict=True)]
    assert [value for value, _ in history["loss_a"]] == pytest.approx(expected_a)
    assert [value for value, _ in history["total_loss"]] == pytest.approx(expected)


def test_a_non_finite_loss_stops_training_and_is_named():
    trainer = make()
    trainer.data_loader = iter([torch.tensor([0.0, float("inf")])] * 9)
    with pytest.raises(FloatingPointError, match="loss_b"):
        trainer.train(0, 9)


@bundled_only
def test_a_non_finite_loss_stops_training_when_written_in_a_thread():
    trainer = make(async_write_metrics=True)
    trainer.data_loader = iter([torch.tensor([0.0, float("nan")])] * 9)
    with pytest.raises(FloatingPointError, match="nan"):
        trainer.train(0, 9)


def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one():
    through = make()
    through.train(0, 10)

    first = make()
    first.train(0, 4)
    state, weights = first.state_dict(), first.model.state_dict()
    second = make()
    second.model.load_state_dict(weights)
    second.load_state_dict(state)
    assert second.iter == 4
    second.data_loader = batches(4)
    second.train(4, 10)
    assert torch.equal(second.model.weight, through.model.weight)


def test_states_of_hooks_are_saved_by_class_name_and_restored():
    class Counter(HookBase):
        def __init__(self):
            self.count = 0

        def after_step(self):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    trainer = make()
    trainer.register_hooks([HookBase(), Counter()])
    trainer.train(0, 3)
    state = trainer.state_dict()
    assert state["hooks"] == {Counter.__qualname__: {"count": 3}}

    resumed = make()
    hook = Counter()
    resumed.register_hooks([hook])
    resumed.load_state_dict(state)
    assert hook.count == 3
    make().load_state_dict(state)  # without the hook: a warning, no error


def test_reset_data_loader_changes_the_batches():
    trainer = make(lr=0.0)
    trainer.train(0, 1)
    trainer.reset_data_loader(lambda: batches(10))
    trainer.train(1, 2)
    assert trainer.storage.latest()["loss_a"][0] == pytest.approx(0.0, abs=1e-12)


@bundled_only
def test_amp_trainer_runs_bfloat16_on_the_cpu():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.seen = set()

        def forward(self, batch):
            out = self.layer(batch)
            self.seen.add(out.dtype)
            return out.float().square().mean()

    torch.manual_seed(0)
    model = Linear()
    data = itertools.repeat(torch.ones(2, 4))
    trainer = AMPTrainer(
        model, data, torch.optim.SGD(model.parameters(), 0.1), log_grad_scaler=True
    )
    trainer.train(0, 5)
    losses = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert model.seen == {torch.bfloat16}
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    assert trainer.storage.latest()["[metric]grad_scaler"][0] == 1.0
    trainer.load_state_dict(trainer.state_dict())
    assert trainer.iter == 5


@bundled_only
def test_a_model_in_eval_mode_is_refused():
    trainer = make()
    trainer.model.eval()
    with pytest.raises(RuntimeError, match="eval mode"):
        trainer.train(0, 1)
