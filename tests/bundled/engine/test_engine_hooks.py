import itertools
import json

import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import SimpleTrainer, hooks
from detectron2.utils.events import EventWriter, JSONWriter
from fvcore.common.param_scheduler import LinearParamScheduler
from torch import nn


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.frozen = nn.BatchNorm1d(2).eval()

    def forward(self, batch):
        return self.frozen(self.norm(batch)).square().mean()


def make_trainer(lr=0.5, batch=None):
    model = Tiny()
    batch = torch.tensor([[0.0, 1.0], [2.0, 5.0]]) if batch is None else batch
    return SimpleTrainer(model, itertools.repeat(batch), torch.optim.SGD(model.parameters(), lr))


class CountingWriter(EventWriter):
    def __init__(self):
        self.written, self.closed = [], 0

    def write(self):
        from detectron2.utils.events import get_event_storage

        self.written.append(get_event_storage().iter)

    def close(self):
        self.closed += 1


def test_callback_hook_gives_the_trainer_at_each_moment():
    seen = []
    moments = ("before_train", "before_step", "after_step", "after_train")
    trainer = make_trainer()
    trainer.register_hooks(
        [hooks.CallbackHook(**{m: lambda t, m=m: seen.append((m, t.iter)) for m in moments})]
    )
    trainer.train(0, 1)
    assert seen == [("before_train", 0), ("before_step", 0), ("after_step", 0), ("after_train", 1)]


@pytest.mark.parametrize(
    ("period", "iterations", "expected"),
    [(3, 9, [2, 5, 8, 9]), (3, 10, [2, 5, 8, 9, 10]), (20, 5, [4, 5])],
)
def test_periodic_writer_writes_every_period_and_at_the_end(period, iterations, expected):
    writer = CountingWriter()
    trainer = make_trainer()
    trainer.register_hooks([hooks.PeriodicWriter([writer], period)])
    trainer.train(0, iterations)
    assert (writer.written, writer.closed) == (expected, 1)


def test_iteration_timer_leaves_out_the_warm_up():
    trainer = make_trainer()
    trainer.register_hooks([hooks.IterationTimer(warmup_iter=3)])
    trainer.train(10, 16)
    times = trainer.storage.history("time").values()
    assert [k for _, k in times] == [12, 13, 14, 15]
    assert all(seconds > 0 for seconds, _ in times)


@pytest.mark.parametrize(
    ("period", "after", "expected"), [(4, True, [4, 8, 10]), (5, True, [5, 10]), (0, False, [])]
)
def test_eval_hook_evaluates_every_period_and_once_at_the_end(period, after, expected):
    done = []
    trainer = make_trainer()

    def evaluate():
        done.append(trainer.iter + (trainer.iter < 10))
        return {"bbox": {"AP": float(trainer.iter)}}

    trainer.register_hooks([hooks.EvalHook(period, evaluate, eval_after_train=after)])
    trainer.train(0, 10)
    assert done == expected
    if expected:
        assert trainer.storage.latest()["bbox/AP"] == (10.0, 10)


def test_eval_hook_names_a_result_that_is_not_a_number():
    trainer = make_trainer()
    trainer.register_hooks([hooks.EvalHook(1, lambda: {"bbox": {"AP": "good"}})])
    with pytest.raises(ValueError, match=r"good|bbox/AP"):
        trainer.train(0, 3)


@pytest.mark.parametrize(("mode", "saved"), [("max", [1, 3, 7]), ("min", [1, 5])])
def test_best_checkpointer_saves_the_best(tmp_path, mode, saved):
    metrics = iter([2.0, 3.0, 1.0, 5.0])
    trainer = make_trainer()
    checkpointer = DetectionCheckpointer(trainer.model, str(tmp_path))
    calls = []
    checkpointer.save = lambda name, **extra: calls.append((name, extra["iteration"]))
    trainer.register_hooks(
        [
            hooks.EvalHook(2, lambda: {"AP": next(metrics)}),
            hooks.BestCheckpointer(2, checkpointer, "AP", mode=mode, file_prefix="best"),
        ]
    )
    trainer.train(0, 8)
    saved = [8 if k == 7 else k for k in saved]  # the last evaluation is after training
    assert calls == [("best", k) for k in saved]


def test_a_subclass_decides_which_values_count_as_best(tmp_path):
    class OnlyEven(hooks.BestCheckpointer):
        def _update_best(self, val, iteration):
            return val % 2 == 0 and super()._update_best(val, iteration)

    trainer, metrics = make_trainer(), iter([1.0, 2.0, 5.0, 4.0])
    best = OnlyEven(2, DetectionCheckpointer(trainer.model, str(tmp_path)), "AP")
    trainer.register_hooks([hooks.EvalHook(2, lambda: {"AP": next(metrics)}), best])
    trainer.train(0, 8)
    assert best.best_metric == 4.0


def test_periodic_checkpointer_keeps_the_last_ones_and_a_final_one(tmp_path):
    trainer = make_trainer()
    checkpointer = DetectionCheckpointer(trainer.model, str(tmp_path), trainer=trainer)
    trainer.register_hooks([hooks.PeriodicCheckpointer(checkpointer, 2, max_to_keep=1)])
    trainer.train(0, 7)
    assert sorted(p.name for p in tmp_path.glob("*.pth")) == [
        "model_0000005.pth",
        "model_final.pth",
    ]
    again = make_trainer()
    DetectionCheckpointer(again.model, str(tmp_path), trainer=again).resume_or_load("")
    assert again.iter == 6
    torch.testing.assert_close(again.model.state_dict(), trainer.model.state_dict())


def test_lr_scheduler_follows_a_parameter_schedule_also_when_resumed():
    def rates(start, stop):
        trainer = make_trainer(lr=0.5)
        for group in trainer.optimizer.param_groups:
            group["initial_lr"] = 0.5
        trainer.register_hooks([hooks.LRScheduler(scheduler=LinearParamScheduler(1.0, 0.0))])
        trainer.iter = start
        trainer.train(start, stop)
        return [rate for rate, _ in trainer.storage.history("lr").values()]

    expected = [0.5 * (1 - k / 10) for k in range(10)]
    assert rates(0, 10) == pytest.approx(expected)
    assert rates(6, 10) == pytest.approx(expected[6:])


@pytest.mark.parametrize(
    ("groups", "best"),
    [
        ([(1, 0.1), (3, 0.2), (2, 0.3)], 1),
        ([(1, 0.1), (1, 0.2), (1, 0.2)], 1),
        ([(1, 0.1)], 0),
    ],
)
def test_the_rate_shown_is_of_the_largest_group_or_the_commonest(groups, best):
    params = [
        {"params": [nn.Parameter(torch.zeros(1)) for _ in range(size)], "lr": lr}
        for size, lr in groups
    ]
    optimizer = torch.optim.SGD(params, lr=1.0)
    assert hooks.LRScheduler.get_best_param_group_id(optimizer) == best


def test_precise_bn_gives_the_population_statistics():
    torch.manual_seed(0)
    data = torch.randn(6, 8, 2) * 3 + 1
    trainer = make_trainer(lr=0.0)
    frozen = trainer.model.frozen
    frozen.eval()
    trainer.register_hooks([hooks.PreciseBN(0, trainer.model, list(data), len(data))])
    trainer.train(0, 2)
    flat = data.reshape(-1, 2)
    norm = trainer.model.norm
    torch.testing.assert_close(norm.running_mean, flat.mean(0))
    torch.testing.assert_close(norm.running_var, flat.var(0, unbiased=False))


def test_torch_profiler_writes_a_trace_of_the_chosen_iteration(tmp_path):
    trainer = make_trainer()
    trainer.register_hooks(
        [
            hooks.TorchProfiler(
                lambda t: t.iter == 1,
                str(tmp_path),
                activities=[torch.profiler.ProfilerActivity.CPU],
                save_tensorboard=False,
            ),
            hooks.TorchMemoryStats(),
        ]
    )
    trainer.train(0, 3)
    (trace,) = tmp_path.glob("*.json")
    assert "iter1" in trace.name
    assert json.loads(trace.read_text())["traceEvents"]


def test_json_writer_gets_the_last_evaluation(tmp_path):
    trainer = make_trainer()
    writer = JSONWriter(str(tmp_path / "metrics.json"))
    trainer.register_hooks(
        [hooks.EvalHook(0, lambda: {"AP": 7.0}), hooks.PeriodicWriter([writer], period=2)]
    )
    trainer.train(0, 4)
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 3, 4]
    assert lines[-1]["AP"] == 7.0
