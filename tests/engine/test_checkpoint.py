import pickle

from lowres_d2.engine.checkpoint import RunCheckpointer, RunState, load_weights
from lowres_d2.engine.extract import extract_detector
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

import pytest
import torch
from safetensors.torch import save_file
from torch import nn


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.loss_normalizer = 100


def filled(value):
    detector = Detector()
    for parameter in detector.parameters():
        nn.init.constant_(parameter, value)
    return detector


def test_bare_detector_weights_go_to_the_detector_of_a_composition(tmp_path):
    torch.save({"model": filled(2.0).state_dict()}, tmp_path / "bare.pth")
    model = LowResDetector(filled(0.0), Identity())
    report = load_weights(model, tmp_path / "bare.pth", complete=True)
    assert report.matched == report.total == 2
    assert torch.all(model.detector.layer.weight == 2)


def test_extracted_detector_loads_into_a_bare_one(tmp_path):
    RunCheckpointer(LowResDetector(filled(3.0), Identity()), str(tmp_path)).save("run")
    extract_detector(tmp_path / "run.pth", tmp_path / "bare.pth")
    state = torch.load(tmp_path / "bare.pth", weights_only=True)["model"]
    bare = Detector()
    bare.load_state_dict(state)
    assert torch.all(bare.layer.bias == 3)
    with pytest.raises(ValueError, match="no composition's checkpoint"):
        extract_detector(tmp_path / "bare.pth", tmp_path / "again.pth")
    assert not (tmp_path / "again.pth").exists()


def test_safetensors_load(tmp_path):
    save_file(filled(4.0).state_dict(), tmp_path / "w.safetensors")
    model = filled(0.0)
    load_weights(model, tmp_path / "w.safetensors", complete=True)
    assert torch.all(model.layer.weight == 4)


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save({"model": {"other.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth: 0 of 2 tensors .* another model"):
        load_weights(Detector(), tmp_path / "other.pth")


def test_evaluation_refuses_weights_that_leave_some_out(tmp_path):
    torch.save({"model": {"layer.bias": torch.zeros(3)}}, tmp_path / "part.pth")
    assert load_weights(Detector(), tmp_path / "part.pth").missing == ["layer.weight"]
    with pytest.raises(ValueError, match=r"layer\.weight"):
        load_weights(Detector(), tmp_path / "part.pth", complete=True)


def test_a_tensor_of_another_shape_is_not_counted_as_loaded(tmp_path):
    state = {"layer.bias": torch.zeros(5), "layer.weight": torch.zeros(3, 2)}
    torch.save({"model": state}, tmp_path / "w.pth")
    report = load_weights(Detector(), tmp_path / "w.pth")
    assert (report.matched, report.misshapen) == (1, ["layer.bias"])


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_missing_or_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=r"broken\.pth") as caught:
        load_weights(Detector(), path)
    assert "\n" not in str(caught.value)


def test_weights_are_read_without_running_them(tmp_path):
    class Malice:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    for name in ("evil.pth", "evil.pkl"):
        with (tmp_path / name).open("wb") as file:
            pickle.dump({"model": Malice()}, file)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            load_weights(Detector(), tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_loss_normalizer_comes_back_and_other_data_is_refused(tmp_path):
    model = LowResDetector(filled(1.0), Identity())
    model.detector.loss_normalizer = 37.5
    RunCheckpointer(model, str(tmp_path), run=RunState(model, "abc")).save("run")
    fresh = LowResDetector(filled(0.0), Identity())
    RunCheckpointer(fresh, run=RunState(fresh, "abc")).load(str(tmp_path / "run.pth"))
    assert fresh.detector.loss_normalizer == 37.5
    with pytest.raises(ValueError, match="other data"):
        RunCheckpointer(fresh, run=RunState(fresh, "xyz")).load(str(tmp_path / "run.pth"))


def test_failing_write_leaves_the_earlier_checkpoint_as_it_was(tmp_path, monkeypatch):
    checkpointer = RunCheckpointer(filled(1.0), str(tmp_path))
    checkpointer.save("run")
    before = (tmp_path / "run.pth").read_bytes()

    def half_write(data, path):
        path.write_bytes(before[:10])
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", half_write)
    with pytest.raises(OSError, match="no space"):
        checkpointer.save("run")
    assert (tmp_path / "run.pth").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"run.pth", "last_checkpoint"}
