"""A run ends when its evaluations no longer improve."""

import json
import logging

from lowres_d2.engine.hooks.best import BestWeights
from lowres_d2.engine.hooks.early_stopping import EarlyStopping, StoppedEarly
from lowres_d2.programs.train import main

import pytest
import torch
from detectron2.engine import HookBase, SimpleTrainer
from fvcore.common.checkpoint import Checkpointer
from torch import nn

from toys.one_line_errors import error_of


class Loss(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        return {"loss": self.weight.sum()}


class Results(HookBase):
    """An evaluation after every second iteration, with given results."""

    def __init__(self, values):
        self.values = values

    def after_step(self):
        done = self.trainer.iter + 1
        if done % 2 == 0:
            value = self.values[done // 2 - 1]
            self.trainer.storage.put_scalar("bbox/AP", value, smoothing_hint=False)


def iterations_of(values, folder, patience, mode="max", **settings):
    """Number of iterations of a run of up to 20 that evaluates after every second one."""
    model = Loss()
    trainer = SimpleTrainer(model, [[]] * 20, torch.optim.SGD(model.parameters(), lr=1))
    checkpointer = Checkpointer(model, str(folder))
    best = BestWeights(2, checkpointer, "bbox/AP", mode)
    stop = EarlyStopping(best, checkpointer, 2, patience, **settings)
    trainer.register_hooks([stop, Results(values), best])
    try:
        trainer.train(0, 20)
    except StoppedEarly:
        saved = torch.load(folder / "model_final.pth")
        assert saved["iteration"] == trainer.iter - 1
        assert saved["model"]["weight"].item() == -trainer.iter
    assert trainer.iter == trainer.max_iter  # what the hooks after training go by
    return trainer.iter


@pytest.mark.parametrize(
    ("values", "settings", "iterations"),
    [
        ([1, 2, 3, 3, 3, 9, 9, 9, 9, 9], {}, 10),
        ([1, 2, 3, 3, 4, 4, 3, 9, 9, 9], {}, 14),
        ([1, 2, 3, 4, 5, 6, 7, 8, 8, 8], {}, 20),
        ([9, 8, 7, 7, 7, 1, 1, 1, 1, 1], {"mode": "min"}, 10),
        # The last stage begins at iteration 8: its first evaluation is that of 10.
        ([5, 1, 1, 1, 1, 1, 1, 1, 1, 1], {"first_iteration": 8}, 12),
        ([5, 1, 1, 1, 1, 6, 1, 1, 1, 1], {"first_iteration": 9}, 16),
    ],
)
def test_patience_counts_evaluations_since_the_best(tmp_path, values, settings, iterations):
    assert iterations_of(values, tmp_path, patience=2, **settings) == iterations


def test_other_processes_stop_with_the_main_one(monkeypatch):
    def of_all(decision):  # what the main process and this one have decided
        return [trainer.iter == 4, decision]

    monkeypatch.setattr("lowres_d2.engine.hooks.early_stopping.comm.all_gather", of_all)
    model = Loss()
    trainer = SimpleTrainer(model, [[]] * 20, torch.optim.SGD(model.parameters(), lr=1))
    trainer.register_hooks([EarlyStopping(None, None, 2, 3)])
    with pytest.raises(StoppedEarly):
        trainer.train(0, 20)
    assert trainer.iter == trainer.max_iter == 4


def test_a_run_without_evaluations_cannot_stop_early():
    with pytest.raises(ValueError, match=r"set train\.eval_period"):
        EarlyStopping(None, None, 0, 3)


def test_mistakes_of_its_settings_are_named(toy_arguments, capsys):
    line = error_of([*toy_arguments, "train.early_stopping.patience=0"], capsys)
    assert "train.early_stopping.patience is 0: expected an integer of at least 1" in line


def evaluated(folder):
    """Iterations, from 1, under which metrics were written."""
    lines = (folder / "metrics.json").read_text().splitlines()
    return [row["iteration"] + 1 for row in map(json.loads, lines) if "bbox/AP" in row]


def test_a_stopped_run_ends_as_any_other_and_resumes_with_more_patience(
    toy_arguments, tmp_path, caplog
):
    toy_arguments += [
        "train.eval_period=1",
        "train.log_period=1",
        "model.detector.test_score_thresh=1.0",  # nothing is found: the first one stays the best
        "train.early_stopping.enabled=true",
    ]
    folder = tmp_path / "run"
    stopping = "train.early_stopping.patience=2"
    with caplog.at_level(logging.INFO):
        main([*toy_arguments, stopping])
    assert "stopping early after 3 of 6 iterations: no better" in caplog.text
    assert "than that of iteration 1 in 2 evaluations" in caplog.text
    # The last weights are evaluated once, and their tables shown.
    assert sum(message.startswith("evaluated in") for message in caplog.messages) == 3
    assert sum("finer size" in message for message in caplog.messages) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    final = torch.load(folder / "model_final.pth", weights_only=True)
    assert final["trainer"]["iteration"] == 2
    assert (folder / "evaluation.json").exists() and (folder / "last_checkpoint").exists()
    assert evaluated(folder)[:3] == [1, 2, 3]

    caplog.clear()
    with caplog.at_level(logging.INFO):
        main(["--resume", *toy_arguments, stopping])
    assert "the run had stopped early, after 3 iterations" in caplog.text
    assert max(evaluated(folder)) <= 4
    again = torch.load(folder / "model_final.pth", weights_only=True)
    assert again["trainer"]["iteration"] == 2

    main(["--resume", *toy_arguments, "train.early_stopping.patience=4"])
    longer = torch.load(folder / "model_final.pth", weights_only=True)
    assert longer["trainer"]["iteration"] == 4
