import pickle
import subprocess
import sys

from lowres_d2.atomic import atomic_path
from lowres_d2.engine.checkpoint import RunCheckpointer, RunState, load_weights
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity
from lowres_d2.programs.extract import extract_detector

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel


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


@pytest.mark.parametrize("averaged", [False, True])
def test_extraction_takes_the_weights_that_were_evaluated(tmp_path, capsys, averaged):
    model = LowResDetector(filled(3.0), Identity())
    average = AveragedModel(LowResDetector(filled(5.0), Identity()))
    extra = {"ema": average} if averaged else {}
    RunCheckpointer(model, str(tmp_path), **extra).save("run")
    extract_detector(tmp_path / "run.pth", tmp_path / "bare.pth")
    assert capsys.readouterr().out.startswith(f"2 {'averaged ' * averaged}tensors written")
    state = torch.load(tmp_path / "bare.pth", weights_only=True)["model"]
    assert set(state) == {"layer.weight", "layer.bias"}
    assert torch.all(state["layer.bias"] == (5 if averaged else 3))


def test_extraction_counts_as_reports_of_loading_do_and_refuses_a_factor(tmp_path, capsys):
    model = LowResDetector(nn.BatchNorm2d(3), Identity())  # 4 tensors, and a counter
    RunCheckpointer(model, str(tmp_path)).save("run")
    extract_detector(tmp_path / "run.pth", tmp_path / "bare.pth")
    assert capsys.readouterr().out.startswith("4 tensors written")
    bare = RunCheckpointer(nn.BatchNorm2d(3), str(tmp_path))
    bare.load(str(tmp_path / "bare.pth"), checkpointables=[])
    assert bare.report.matched == 4
    with pytest.raises(ValueError, match="factor 3: these weights have no norms by factor"):
        extract_detector(tmp_path / "run.pth", tmp_path / "again.pth", "3")
    assert not (tmp_path / "again.pth").exists()


def test_the_report_has_the_classes_of_the_file(tmp_path):
    checkpointer = RunCheckpointer(filled(1.0), str(tmp_path))
    checkpointer.classes = ["cat", "dog"]
    checkpointer.save("run")
    torch.save(filled(1.0).state_dict(), tmp_path / "bare.pth")
    assert load_weights(Detector(), tmp_path / "run.pth").classes == ["cat", "dog"]
    assert load_weights(Detector(), tmp_path / "bare.pth").classes == []


def test_weights_of_other_programs_load(tmp_path):
    torch.save({"state_dict": filled(6.0).state_dict(), "epoch": 3}, tmp_path / "other.bin")
    model = Detector()
    assert load_weights(model, tmp_path / "other.bin", complete=True).matched == 2
    assert torch.all(model.layer.weight == 6)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, 1, bias=False)
        self.conv1.norm = nn.BatchNorm2d(2)


class Bottlenecks(nn.Module):
    """Named as Detectron2's ResNet in an FPN, with a class score as its box heads have it."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.bottom_up = nn.Module()
        self.backbone.bottom_up.res2 = nn.Sequential(Block(), Block())
        self.cls_score = nn.Linear(2, 3)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_caffe2_zoo_file_loads_into_a_composition(tmp_path, wrapped):
    arrays = {
        "res2_0_branch2a_w": np.full((2, 2, 1, 1), 2, np.float32),
        "res2_1_branch2a_w": np.full((2, 2, 1, 1), 3, np.float32),
        "res2_1_branch2a_w_momentum": np.full((2, 2, 1, 1), 9, np.float32),
        "res2_0_branch2a_bn_s": np.full(2, 4, np.float32),
        "cls_score_b": np.array([0, 1, 2], np.float32),
        "fc1000_w": np.zeros((5, 2), np.float32),
    }
    with (tmp_path / "zoo.pkl").open("wb") as file:
        pickle.dump({"blobs": arrays} if wrapped else arrays, file, protocol=2)
    model = LowResDetector(Bottlenecks(), Identity())
    report = load_weights(model, tmp_path / "zoo.pkl")
    blocks = model.detector.backbone.bottom_up.res2
    assert [block.conv1.weight.unique().item() for block in blocks] == [2, 3]
    assert blocks[0].conv1.norm.weight.tolist() == [4, 4]
    assert model.detector.cls_score.bias.tolist() == [1, 2, 0]  # background: first there, last here
    assert report.matched == 4
    assert len(report.unexpected) == 1


def test_matching_by_suffix_is_requested_after_the_path(tmp_path):
    torch.save({"weight": torch.full((3, 2), 8.0)}, tmp_path / "ends.pth")
    model = LowResDetector(filled(0.0), Identity())
    with pytest.raises(ValueError, match="another model"):
        load_weights(model, tmp_path / "ends.pth")
    assert load_weights(model, f"{tmp_path}/ends.pth?matching_heuristics=True").matched == 1
    assert torch.all(model.detector.layer.weight == 8)


def test_safetensors_load(tmp_path):
    save_file(filled(4.0).state_dict(), tmp_path / "w.safetensors")
    model = filled(0.0)
    load_weights(model, tmp_path / "w.safetensors", complete=True)
    assert torch.all(model.layer.weight == 4)


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save({"model": {"other.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth: 0 of 2 tensors .* another model"):
        load_weights(Detector(), tmp_path / "other.pth")


def test_evaluation_refuses_incomplete_weights(tmp_path):
    torch.save({"model": {"layer.bias": torch.zeros(3)}}, tmp_path / "part.pth")
    assert load_weights(Detector(), tmp_path / "part.pth").missing == ["layer.weight"]
    with pytest.raises(ValueError, match=r"layer\.weight"):
        load_weights(Detector(), tmp_path / "part.pth", complete=True)


def test_a_tensor_of_another_shape_is_not_counted_as_loaded(tmp_path):
    state = {"layer.bias": torch.zeros(5), "layer.weight": torch.zeros(3, 2)}
    torch.save({"model": state}, tmp_path / "w.pth")
    report = load_weights(Detector(), tmp_path / "w.pth")
    assert (report.matched, report.misshapen) == (1, ["layer.bias"])


def assert_refused_in_one_line(path, *words):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_weights(Detector(), path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in (str(path), *words)), message


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04junk", bytes(99), None])
@pytest.mark.parametrize("ending", ["pth", "bin", "pkl", "pyth", "safetensors"])
def test_a_missing_or_broken_file_is_named_in_one_line(tmp_path, ending, content):
    path = tmp_path / f"broken.{ending}"
    if content is not None:
        path.write_bytes(content)
    remedy = "give a .pth, .pkl or .safetensors file"
    if content == b"" or (ending == "pkl" and content and content.startswith(b"\x80")):
        remedy = "copy or download it again"
    assert_refused_in_one_line(path, remedy)


def test_a_truncated_checkpoint_and_a_folder_are_named(tmp_path):
    RunCheckpointer(filled(1.0), str(tmp_path)).save("run")
    path = tmp_path / "run.pth"
    path.write_bytes(path.read_bytes()[:-200])
    assert_refused_in_one_line(path, "is damaged")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_refused_in_one_line(empty, "is a folder without weights")


@pytest.mark.parametrize(
    "contents",
    [[1], {}, {"epoch": 3}, {"model": [1]}, {"model": {}}, {1: torch.zeros(2)}],
    ids=str,
)
@pytest.mark.parametrize("ending", ["pth", "pkl"])
def test_a_file_without_weights_is_named(tmp_path, contents, ending):
    path = tmp_path / f"none.{ending}"
    torch.save(contents, path) if ending == "pth" else path.write_bytes(pickle.dumps(contents))
    assert_refused_in_one_line(path)


def test_an_address_that_cannot_be_reached_is_named():
    assert_refused_in_one_line("http://127.0.0.1:9/w.pth", "check address and network")


def test_reading_weights_executes_nothing(tmp_path):
    class Malice:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    for name in ("evil.pth", "evil.pkl"):
        with (tmp_path / name).open("wb") as file:
            pickle.dump({"model": Malice()}, file)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            load_weights(Detector(), tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_loss_normalizer_is_restored_and_other_data_is_refused(tmp_path):
    model = LowResDetector(filled(1.0), Identity())
    model.detector.loss_normalizer = 37.5
    RunCheckpointer(model, str(tmp_path), run=RunState(model, "abc")).save("run")
    fresh = LowResDetector(filled(0.0), Identity())
    RunCheckpointer(fresh, run=RunState(fresh, "abc")).load(str(tmp_path / "run.pth"))
    assert fresh.detector.loss_normalizer == 37.5
    with pytest.raises(ValueError, match=r"run\.pth is not a checkpoint .*other data.*--resume"):
        RunCheckpointer(fresh, run=RunState(fresh, "xyz")).load(str(tmp_path / "run.pth"))


def test_a_checkpoint_of_another_optimizer_is_named(tmp_path):
    model = filled(1.0)
    optimizers = (
        torch.optim.SGD(model.parameters(), 0.1),
        torch.optim.SGD([model.layer.bias], 0.1),
    )
    RunCheckpointer(model, str(tmp_path), optimizer=optimizers[0]).save("run")
    with pytest.raises(ValueError, match=r"run\.pth is not a checkpoint .*optimizer.*--resume"):
        RunCheckpointer(model, optimizer=optimizers[1]).load(str(tmp_path / "run.pth"))


def test_a_failing_write_leaves_the_previous_checkpoint_unchanged(tmp_path, monkeypatch):
    checkpointer = RunCheckpointer(filled(1.0), str(tmp_path))
    checkpointer.save("run")
    before = (tmp_path / "run.pth").read_bytes()

    def half_write(data, file):
        file.write(before[:10])
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", half_write)
    with pytest.raises(OSError, match="no space"):
        checkpointer.save("run")
    assert (tmp_path / "run.pth").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"run.pth", "last_checkpoint"}


def test_temporary_files_of_killed_processes_are_removed_and_those_of_others_are_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        others = [f".run.{living.pid}.part.pth", f".best.{dead.pid}.part.pth", ".run.x.part.pth"]
        for name in (f".run.{dead.pid}.part.pth", *others):
            (tmp_path / name).touch()
        with atomic_path(tmp_path / "run.pth") as part:
            part.touch()
        assert {path.name for path in tmp_path.iterdir()} == {"run.pth", *others}
        living.communicate(b"\n")
