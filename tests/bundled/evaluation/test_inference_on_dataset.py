import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.evaluation import (
    DatasetEvaluator,
    DatasetEvaluators,
    inference_context,
    inference_on_dataset,
    print_csv_format,
    verify_results,
)
from detectron2.evaluation.testing import flatten_results_dict
from omegaconf import OmegaConf
from torch import nn


class Sum(DatasetEvaluator):
    def __init__(self, task="sum"):
        self.task = task

    def reset(self):
        self.total = 0.0

    def process(self, inputs, outputs):
        self.total += float(sum(outputs))

    def evaluate(self):
        return {self.task: {"total": self.total}}


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.modes = []

    def forward(self, batch):
        self.modes.append((self.training, torch.is_grad_enabled()))
        return [self.factor * x for x in batch]


def test_every_batch_is_run_in_eval_mode_without_gradients_and_the_mode_comes_back():
    model = Scale().train()
    loader = [[torch.tensor(float(k))] for k in range(12)]
    calls = []
    moments = ("on_start", "before_inference", "after_inference", "on_end")
    callbacks = {m: lambda m=m: calls.append(m) for m in moments}
    results = inference_on_dataset(model, loader, [Sum("a"), Sum("b")], callbacks)
    assert results == {"a": {"total": 132.0}, "b": {"total": 132.0}}
    assert model.modes == [(False, False)] * 12
    assert model.training
    assert calls == [moments[0], *moments[1:3] * 12, moments[3]]


def test_functions_and_no_evaluator_are_accepted():
    assert inference_on_dataset(lambda batch: batch, [[1.0], [2.0]], Sum()) == {"sum": {"total": 3}}
    assert inference_on_dataset(lambda batch: batch, [[1.0]], None) == {}


def test_two_evaluators_of_one_task_are_refused():
    both = DatasetEvaluators([Sum(), Sum()])
    both.reset()
    with pytest.raises((ValueError, AssertionError), match="sum"):
        both.evaluate()


@pytest.mark.parametrize("training", [True, False])
def test_inference_context_restores_the_mode(training):
    model = nn.Sequential(nn.Dropout()).train(training)
    with inference_context(model):
        assert not model.training and not model[0].training
    assert model.training is training and model[0].training is training


def test_csv_lines_leave_out_categories(caplog):
    with caplog.at_level("INFO"):
        print_csv_format({"bbox": {"AP": 12.34567, "AP50": 50.0, "AP-cat": 1.0}})
    lines = [r.getMessage() for r in caplog.records]
    assert lines == ["copypaste: Task: bbox", "copypaste: AP,AP50", "copypaste: 12.3457,50.0000"]


def test_results_are_flattened_to_any_depth():
    nested = {"bbox": {"AP": 1, "size": {"s": 2}}, "speed": 3}
    assert flatten_results_dict(nested) == {"bbox/AP": 1, "bbox/size/s": 2, "speed": 3}


@pytest.mark.parametrize(("value", "agrees"), [(10.4, True), (10.6, False), (float("nan"), False)])
def test_expected_results(value, agrees):
    cfg = OmegaConf.create({"TEST": {"EXPECTED_RESULTS": [["bbox", "AP", 10.0, 0.5]]}})
    if agrees:
        assert verify_results(cfg, {"bbox": {"AP": value}})
    else:
        with pytest.raises(SystemExit) as info:
            verify_results(cfg, {"bbox": {"AP": value}})
        assert info.value.code == 1
