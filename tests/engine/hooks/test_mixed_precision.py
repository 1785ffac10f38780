from lowres_d2.engine.checkpoint import read_checkpoint
from lowres_d2.engine.hooks.mixed_precision import CPUAutocast, training_precision
from lowres_d2.programs.train import main

import pytest
import torch
from detectron2.engine import SimpleTrainer
from omegaconf import OmegaConf
from torch import nn

ENABLED = OmegaConf.create({"train": {"amp": {"enabled": True}}})
DISABLED = OmegaConf.create({"train": {"amp": {"enabled": False}}})


class Loss(nn.Module):
    """Records the dtype of its product."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.seen = []

    def forward(self, batch):
        if batch == "bad":
            raise FloatingPointError("bad")
        out = self.linear(torch.ones(2, 4))
        self.seen.append(out.dtype)
        return {"loss": out.float().mean()}


def trained(model, batches):
    trainer = SimpleTrainer(model, batches, torch.optim.SGD(model.parameters(), lr=0.5))
    trainer.register_hooks([CPUAutocast()])
    trainer.train(0, len(batches))


def test_training_computes_in_bfloat16_and_evaluation_does_not():
    model = Loss()
    weight = model.linear.weight.detach().clone()
    trained(model, ["good"] * 2)
    assert model.seen == [torch.bfloat16] * 2
    # The mean's gradient by every weight is 1, exactly; weights themselves stay float32.
    assert torch.equal(model.linear.weight, weight - 1)
    model("good")
    assert model.seen[-1] == torch.float32


def test_evaluation_during_training_stays_in_float32():
    model = Loss()

    class Evaluates(CPUAutocast):
        def after_step(self):
            model.eval()
            model("good")
            model.train()

    trainer = SimpleTrainer(model, ["good"] * 2, torch.optim.SGD(model.parameters(), lr=0.0))
    trainer.register_hooks([Evaluates()])
    trainer.train(0, 2)
    assert model.seen == [torch.bfloat16, torch.float32] * 2


def test_an_iteration_that_raises_leaves_autocast_off():
    with pytest.raises(FloatingPointError):
        trained(Loss(), ["good", "bad"])
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True}, None),
    ],
)
def test_bfloat16_only_where_the_cpu_has_instructions(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert training_precision(ENABLED, Loss()) is expected
    assert training_precision(DISABLED, Loss()) is None
    assert training_precision(ENABLED, Loss().to("meta")) is None


def test_a_torch_that_cannot_tell_stays_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert training_precision(ENABLED, Loss()) is None


@pytest.mark.parametrize(
    ("able", "words"), [(True, "mixed precision (bfloat16)"), (False, "is off")]
)
def test_a_run_reports_its_precision_and_saves_it_for_the_replay(
    toy_arguments, tmp_path, capsys, monkeypatch, able, words
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able}, raising=False)
    with pytest.raises(SystemExit):
        main([*toy_arguments, "train.amp.enabled=true", "+model.detector.focal_loss_gamma=nan"])
    (row,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("  runs on")]
    assert words in row
    (file,) = (tmp_path / "run").glob("non_finite_*.pth")
    assert read_checkpoint(file)["mixed_precision"] is able
