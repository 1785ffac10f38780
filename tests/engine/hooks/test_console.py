"""The line that shows a run's progress."""

import logging
import re

from lowres_d2.engine.hooks.console import ConsoleWriter, recent_losses
from lowres_d2.evaluation.shown import ShownMetrics

import pytest
from detectron2.utils.events import EventStorage


def line_of(storage, caplog, **settings):
    with caplog.at_level(logging.INFO):
        ConsoleWriter(live=False, **{"max_iter": 1000} | settings).write()
    return caplog.messages[-1]


def record(storage, **values):
    """One iteration with these values, after which the next one begins."""
    storage.put_scalars(**values)
    storage.step()


@pytest.mark.parametrize("live", [False, True])
def test_console_shows_progress_losses_and_ap(caplog, capsys, live):
    writer = ConsoleWriter(max_iter=10, live=live)
    with caplog.at_level(logging.INFO), EventStorage(0) as storage:
        storage.put_scalar("bbox/AP", 41.25, smoothing_hint=False)
        record(storage, total_loss=1.5, lr=0.01, time=2.0)
        writer.write()
        writer.close()
    shown = capsys.readouterr().out if live else caplog.text
    for words in ("1/10", "total_loss 1.5", "lr 0.01", "AP 41.2 (at 1)"):
        assert words in shown.replace("\n", " ")


def test_console_shows_the_metrics_of_the_evaluator(caplog):
    shown = ShownMetrics("classification", ("top1", "top5"))
    with EventStorage(0) as storage:
        for name in ("classification/top1", "classification/top5", "bbox/AP"):
            storage.put_scalar(name, float(len(name)), smoothing_hint=False)
        record(storage, total_loss=1.0)
        line = line_of(storage, caplog, shown=shown)
    assert line.endswith("top1 19.0 (at 1)  top5 19.0 (at 1)")


def test_losses_of_an_earlier_stage_are_not_repeated(caplog):
    with EventStorage(0) as storage:
        for _ in range(30):
            record(storage, total_loss=3.0, loss_cls=1.0, loss_feature=2.0)
        for value in (4.0, 6.0):
            record(storage, total_loss=value, loss_cls=value)
        assert recent_losses(storage, 20) == (31, {"total_loss": 5.0, "loss_cls": 5.0})
        assert "loss_feature" not in line_of(storage, caplog)


def test_losses_add_up_to_the_total():
    with EventStorage(0) as storage:
        for k in range(50):
            first, second = float(k % 7), float(k * k % 11)
            record(storage, total_loss=first + second, loss_a=first, loss_b=second)
        last, found = recent_losses(storage, 20)
    assert last == 49
    assert found["total_loss"] == pytest.approx(found["loss_a"] + found["loss_b"])
    assert found["loss_a"] == pytest.approx(sum(k % 7 for k in range(30, 50)) / 20)


def test_losses_that_take_turns_are_those_of_the_last_iteration():
    with EventStorage(0) as storage:
        for k in range(9):
            record(storage, total_loss=float(k), **{f"loss_{k % 2}": float(k)})
        # Iterations 0, 2, ..., 8 have loss_0.
        assert recent_losses(storage, 20) == (8, {"total_loss": 4.0, "loss_0": 4.0})


def test_diagnostics_are_not_shown(caplog):
    with EventStorage(0) as storage:
        storage.put_scalar("[metric]feature/loss_p3", 7.0)
        record(storage, total_loss=1.0)
        assert recent_losses(storage, 20) == (0, {"total_loss": 1.0})


def test_a_slow_beginning_does_not_spoil_the_time_left(caplog):
    with EventStorage(0) as storage:
        for k in range(20):
            record(storage, total_loss=1.0, time=60.0 if k < 2 else 0.5)
        assert "eta 0:08:10" in line_of(storage, caplog)  # 980 iterations of half a second


def test_the_time_left_follows_a_slower_stage(caplog):
    with EventStorage(0) as storage:
        for k in range(700):
            record(storage, total_loss=1.0, time=0.1 if k < 600 else 1.0)
        assert "eta 0:05:00" in line_of(storage, caplog)


def test_the_last_line_counts_to_the_end_and_says_when_ap_was_measured(caplog):
    with EventStorage(0) as storage:
        for k in range(10):
            if k == 4:
                storage.put_scalar("bbox/AP", 20.0, smoothing_hint=False)
            record(storage, total_loss=1.0)
        line = line_of(storage, caplog, max_iter=10)
        assert line.startswith("iteration 10/10 ") and "AP 20.0 (at 5)" in line
        storage.put_scalar("bbox/AP", 30.0, smoothing_hint=False)  # after training
        assert "AP 30.0 (at 10)" in line_of(storage, caplog, max_iter=10)


def test_a_run_that_only_evaluates_again_shows_its_end(caplog):
    with EventStorage(10) as storage:
        assert re.match(r"iteration 10/10$", line_of(storage, caplog, max_iter=10))
