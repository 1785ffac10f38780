import math
import re
import shlex
from pathlib import Path

from lowres_d2.engine.checkpoint import read_checkpoint
from lowres_d2.engine.hooks.batch_files import pack_batch, unpack_batch
from lowres_d2.engine.hooks.non_finite import SKIPPED_STEPS, NonFiniteError, NonFiniteStop
from lowres_d2.programs import replay
from lowres_d2.programs.train import main

import numpy as np
import pytest
import torch
from detectron2.engine import SimpleTrainer
from detectron2.structures import Boxes, Instances
from torch import nn


class Losses(nn.Module):
    """Returns the losses given in its batch, times its weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batch):
        if "raises" in batch[0]:
            scores = self.weight * batch[0]["score"]  # noqa: F841  (the error's frame has it)
            raise batch[0]["raises"]
        return {name: self.weight * value for name, value in batch[0]["losses"].items()}


def sample(file_name, boxes, **more):
    instances = Instances((20, 30), gt_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)))
    return {"file_name": file_name, "instances": instances, "image": torch.zeros(3, 20, 30), **more}


def batch(losses, **more):
    return [
        sample("a.png", [[0.0, 0.0, 9.0, 9.0]], image_id=7, losses=losses, **more),
        sample("b.png", [[1.0, 2.0, 3.5, 6.0], [0.0, 0.0, 30.0, 20.0]]),
    ]


def run(folder, batches, rate=0.0):
    model = Losses()
    trainer = SimpleTrainer(model, batches, torch.optim.SGD(model.parameters(), lr=rate))
    stop = NonFiniteStop(model, folder, seed=3)
    trainer.register_hooks([stop])
    with pytest.raises(NonFiniteError) as caught, stop.explaining():
        trainer.train(0, len(batches))
    return str(caught.value), model


GOOD = {"loss_cls": 1.0, "loss_box": 2.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_loss_stops_before_the_optimizer_step_with_one_line(tmp_path, value):
    bad = {"loss_cls": 1.0, "loss_box": value}
    message, model = run(tmp_path, [batch(GOOD), batch(GOOD), batch(bad)], rate=0.1)
    assert message.startswith(f"loss_box is {value} in iteration 2, on a.png (image_id 7), b.png;")
    for words in (
        "smallest box 2.5 x 4 pixels, in b.png",
        "previous total losses: 3, 2.1;",
        "previous gradient norms: 3, 3;",
        "optimizer.lr",
    ):
        assert words in message, message
    assert "\n" not in message
    assert model.weight.item() == pytest.approx(1 - 2 * 0.1 * 3)


def test_the_saved_file_has_all_of_the_iteration(tmp_path):
    _, model = run(tmp_path, [batch(GOOD), batch({"loss": math.nan})], rate=0.1)
    (path,) = tmp_path.iterdir()
    assert path.name == "non_finite_0000001.pth"
    found = torch.load(path, weights_only=True)
    assert found["model"]["weight"].item() == pytest.approx(0.7) == model.weight.item()
    assert (found["iteration"], found["seed"], found["rank"], found["term"]) == (1, 3, 0, "loss")
    assert [row["total_loss"] for row in found["history"][:-1]] == [3.0]
    again = unpack_batch(found["batch"])
    assert torch.equal(again[1]["instances"].gt_boxes.tensor[0], torch.tensor([1.0, 2, 3.5, 6]))
    assert again[1]["instances"].image_size == (20, 30)
    assert (again[0]["file_name"], again[0]["image_id"]) == ("a.png", 7)


def test_gradients_that_are_not_finite_name_their_parameter(tmp_path):
    class Root(Losses):
        def forward(self, _):
            return {"loss": (self.weight - 1).sqrt()}  # 0, of infinite slope

    model = Root()
    trainer = SimpleTrainer(model, [batch(GOOD)], torch.optim.SGD(model.parameters(), lr=1.0))
    trainer.register_hooks([NonFiniteStop(model, tmp_path, 0)])
    words = r"losses are finite.*norm is inf.*first non-finite gradient is that of weight"
    with pytest.raises(NonFiniteError, match=words):
        trainer.train(0, 1)
    assert model.weight.item() == 1


def test_a_parameter_that_was_non_finite_before_is_named(tmp_path):
    message, _ = run(tmp_path, [batch({"loss": 1e30}), batch(GOOD)], rate=1e30)
    assert "the parameter weight was non-finite before this iteration" in message


@pytest.mark.parametrize(("kind", "score"), [(FloatingPointError, 1.0), (AssertionError, math.nan)])
def test_an_error_of_the_forward_pass_names_its_images(tmp_path, kind, score):
    wrong = batch(GOOD, raises=kind("logits\nare NaN."), score=score)
    message, _ = run(tmp_path, [batch(GOOD), wrong])
    assert message.startswith("logits are NaN in iteration 1, on a.png")
    assert (tmp_path / "non_finite_0000001.pth").exists()


def test_other_assertion_errors_are_not_changed(tmp_path):
    wrong = batch(GOOD, raises=AssertionError("a list of lists"), score=1.0)
    with pytest.raises(AssertionError, match="a list of lists"):
        run(tmp_path, [wrong])
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_saved_does_not_hide_the_error(tmp_path):
    (tmp_path / "file").touch()
    message, _ = run(tmp_path / "file" / "folder", [batch({"loss": math.nan})])
    assert message.startswith("loss is nan") and "could not be saved" in message


def test_images_without_names_or_boxes(tmp_path):
    message, _ = run(tmp_path, [[{"losses": {"loss": math.nan}}, sample("b.png", [])]])
    assert "on image 0 of the batch, b.png; no boxes" in message


def test_of_many_images_with_labels_some_are_named_and_nothing_is_said_of_boxes(tmp_path):
    many = [{"losses": {"loss": math.nan}, "image_id": k, "label": 0} for k in range(20)]
    message, _ = run(tmp_path, [many])
    assert message.count("image_id") == 16
    assert "image 15 of the batch (image_id 15) and 4 more; " in message
    assert "box" not in message
    assert message.endswith("; lower optimizer.lr or set train.clip_gradients.enabled=true")


class Scaler:
    """Stands for an enabled GradScaler, which skips steps whose gradients overflow."""

    def is_enabled(self):
        return True

    def get_scale(self):
        return 2.0


def test_overflow_under_loss_scaling_stops_only_if_it_persists(tmp_path):
    model = Losses()
    trainer = SimpleTrainer(model, [], torch.optim.SGD(model.parameters(), lr=0.0))
    trainer.grad_scaler = Scaler()
    stop = NonFiniteStop(model, tmp_path, 0)
    trainer.register_hooks([stop])
    trainer.iter = 0

    def step(value):
        stop._losses = {"loss": torch.tensor(1.0)}
        model.weight.grad = torch.tensor(value)
        stop.after_backward()

    step(6.0)
    assert stop._history[-1]["gradient_norm"] == 3
    for _ in range(SKIPPED_STEPS - 1):
        step(math.inf)
    with pytest.raises(NonFiniteError, match="gradient norm is inf"):
        step(math.inf)


def test_packing_keeps_plain_values_and_names_what_it_drops():
    values = {"path": Path("a"), "array": np.arange(3), "pair": (1, None), "odd": object()}
    (packed,) = pack_batch([values])
    assert packed["left_out"] == ["odd"]
    (again,) = unpack_batch([packed])
    assert (again["path"], again["pair"]) == ("a", [1, None])
    assert again["array"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("forward_raises", [False, True])
def test_replay_gives_the_same_losses_and_the_first_non_finite_module(
    toy_arguments, tmp_path, capsys, forward_raises
):
    # The box loss asserts that boxes are in order.
    cause = "optimizer.lr=1e20" if forward_raises else "+model.detector.focal_loss_gamma=nan"
    with pytest.raises(SystemExit):
        main([*toy_arguments, cause])
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert re.search(r" in iteration \d, on .*\.png \(image_id \d\).*; smallest box ", line)
    command = shlex.split(re.search(r"lowres-d2 replay ([^;]+);", line)[1])
    replay.main(command)
    shown = capsys.readouterr().out
    if forward_raises:
        assert "the model raised: " in shown
        assert "first module whose output is not finite: detector." in shown
        return
    assert line.startswith("error: loss_fcos_cls is nan in iteration 0")
    assert re.search(r"is not finite: detector \(\w*FCOS\), with finite inputs", shown), shown
    (file,) = (tmp_path / "run").glob("non_finite_*.pth")
    last = read_checkpoint(file)["history"][-1]
    again = dict(x.split() for x in shown.splitlines() if x.startswith("loss_"))
    assert again == {name: f"{last[name]:.6g}" for name in again}
    assert len(again) == 3


def test_replay_of_a_file_without_a_batch_or_with_another_model(toy_arguments, tmp_path, capsys):
    torch.save({"model": {"weight": torch.zeros(1)}}, tmp_path / "weights.pth")
    with pytest.raises(SystemExit):
        replay.main([str(tmp_path / "weights.pth"), *toy_arguments])
    assert "weights.pth holds no batch" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        replay.main([str(tmp_path / "none.pth"), *toy_arguments])
    assert "none.pth: no such file; give a run's non_finite_" in capsys.readouterr().err
    run(tmp_path, [batch({"loss": math.nan})])
    with pytest.raises(SystemExit):
        replay.main([str(tmp_path / "non_finite_0000000.pth"), *toy_arguments])
    assert "give the recipe that the run was made with" in capsys.readouterr().err
