from lowres_d2.engine.hooks.out_of_memory import ImagesOutOfMemory, OutOfMemoryReport
from lowres_d2.programs.train import main

import pytest
import torch
from detectron2.engine import SimpleTrainer
from detectron2.structures import Boxes, Instances
from torch import nn

PETABYTE = 2**50


class Hungry(nn.Module):
    """Allocates the bytes that its first image asks for, or raises the error given there."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batch):
        if isinstance(batch[0]["bytes"], Exception):
            raise batch[0]["bytes"]
        return {"loss": self.weight * torch.empty(batch[0]["bytes"], dtype=torch.uint8).numel()}


def batch(size):
    boxes = Instances((20, 30), gt_boxes=Boxes(torch.zeros(2000, 4)))
    crowded = {"file_name": "a.png", "image_id": 7, "image": torch.zeros(3, 20, 30)}
    return [crowded | {"instances": boxes, "bytes": size}, {"image": torch.zeros(3, 5, 6)}]


def run(batches):
    model = Hungry()
    trainer = SimpleTrainer(model, batches, torch.optim.SGD(model.parameters(), lr=0.0))
    report = OutOfMemoryReport()
    trainer.register_hooks([report])
    with report.explaining():
        trainer.train(0, len(batches))


def test_a_failing_allocation_names_the_images_of_its_iteration():
    with pytest.raises(ImagesOutOfMemory) as caught:
        run([batch(1), batch(PETABYTE)])
    line = str(caught.value)
    for words in (
        "out of memory in iteration 1, on a.png (image_id 7) of 30x20 pixels with 2000 objects; ",
        "image 1 of the batch of 6x5 pixels with 0 objects",
        f"tried to allocate {PETABYTE} bytes",
        "total_batch_size",
    ):
        assert words in line, line
    assert "\n" not in line


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("no\nroom. Tip"), MemoryError()])
def test_errors_of_gpu_and_numpy_name_the_images_too(error):
    with pytest.raises(ImagesOutOfMemory, match=r"a\.png .*\((no room|MemoryError)\)"):
        run([batch(error)])


def test_other_errors_are_not_changed():
    with pytest.raises(RuntimeError, match="shapes"):
        run([batch(RuntimeError("shapes do not match"))])


def test_a_run_ends_in_one_line(toy_arguments, capsys, monkeypatch):
    from detectron2.modeling.meta_arch.fcos import FCOS

    monkeypatch.setattr(FCOS, "losses", lambda *_: torch.empty(PETABYTE, dtype=torch.uint8))
    with pytest.raises(SystemExit):
        main(toy_arguments)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: out of memory in iteration 0, on /")
    assert ".png (image_id " in error and "of 240x240 pixels with 1 objects" in error
