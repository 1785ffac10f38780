import os
import pickle

import lowres_d2

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="upstream runs what a pickle contains"
)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({"stem": nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 3)})})
        self.register_buffer("pixel_mean", torch.zeros(3, 1, 1))

    @property
    def conv(self):
        return self.backbone["stem"]["conv1"]


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(4).astype(np.float32),
    }


def assert_loaded(model, arrays):
    np.testing.assert_array_equal(model.conv.weight.detach().numpy(), arrays["w"])
    np.testing.assert_array_equal(model.conv.bias.detach().numpy(), arrays["b"])


def write_pickle(path, contents, protocol=pickle.DEFAULT_PROTOCOL):
    path.write_bytes(pickle.dumps(contents, protocol))
    return str(path)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("layout", ["zoo", "caffe2", "caffe2_blobs"])
def test_zoo_pickles(tmp_path, arrays, layout, protocol):
    blobs = {"conv1_w": arrays["w"], "conv1_b": arrays["b"], "conv1_w_momentum": arrays["w"]}
    contents = {
        "zoo": {
            "model": {
                "backbone.stem.conv1.weight": arrays["w"],
                "backbone.stem.conv1.bias": arrays["b"],
            },
            "__author__": "Detectron2 Model Zoo",
        },
        "caffe2": blobs,
        "caffe2_blobs": {"blobs": {**blobs, "weight_order": np.zeros(1)}, "cfg": "MODEL: x"},
    }[layout]
    path = write_pickle(tmp_path / "weights.pkl", contents, protocol)
    model = Model()
    DetectionCheckpointer(model).load(path)
    assert_loaded(model, arrays)


def test_a_pickle_of_python_2_is_read(tmp_path):
    # What Python 2 and numpy 1 write for {"model": {"pixel_mean": zeros}, ...}: byte strings, and
    # numpy's functions under their old names.
    array = np.arange(3, dtype="<f4").reshape(3, 1, 1)
    text = pickle.dumps({"model": {"pixel_mean": array}, "__author__": "x"}, 0)
    path = tmp_path / "old.pkl"
    path.write_bytes(text.replace(b"numpy._core.", b"numpy.core."))
    model = Model()
    DetectionCheckpointer(model).load(str(path))
    assert model.pixel_mean.flatten().tolist() == [0, 1, 2]


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@bundled_only
@pytest.mark.parametrize("ending", ["pkl", "pth", "pyth"])
def test_a_malicious_file_is_refused_and_not_run(tmp_path, ending):
    contents = {"model": {"w": np.zeros(1)}, "__author__": "x", "y": Malicious(tmp_path / "ran")}
    path = tmp_path / f"weights.{ending}"
    if ending == "pkl":
        write_pickle(path, contents)
    else:
        torch.save(contents, path)
    with pytest.raises(ValueError, match=rf"weights\.{ending}: refused") as info:
        DetectionCheckpointer(Model()).load(str(path))
    assert "mkdir" in str(info.value)
    assert not (tmp_path / "ran").exists()


@bundled_only
@pytest.mark.parametrize("payload", [b"", b"not a pickle", pickle.dumps({"a": 1})[:-3]])
@pytest.mark.parametrize("ending", ["pkl", "pth"])
def test_a_damaged_file_is_named(tmp_path, payload, ending):
    path = tmp_path / f"weights.{ending}"
    path.write_bytes(payload)
    with pytest.raises(ValueError, match=r"weights\.p[kt][lh](: refused| is damaged)"):
        DetectionCheckpointer(Model()).load(str(path))


@bundled_only
def test_a_missing_file_and_an_unknown_query_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pth"):
        DetectionCheckpointer(Model()).load(str(tmp_path / "no.pth"))
    with pytest.raises(ValueError, match="heuristics=1"):
        DetectionCheckpointer(Model()).load(f"{tmp_path}/x.pth?heuristics=1")


def test_bare_state_dicts_and_pycls(tmp_path, arrays):
    weights = {f"conv1.{n}": torch.from_numpy(arrays[n[0]]) for n in ("weight", "bias")}
    torch.save(weights, tmp_path / "bare.pth")
    torch.save({"model_state": weights}, tmp_path / "pycls.pyth")
    for name in ("bare.pth?matching_heuristics=True", "pycls.pyth"):
        model = Model()
        DetectionCheckpointer(model).load(str(tmp_path / name))
        assert_loaded(model, arrays)


def test_heuristics_are_off_unless_asked_for(tmp_path):
    torch.save({"model": {"conv1.bias": torch.ones(4)}}, tmp_path / "a.pth")
    model = Model()
    before = model.conv.bias.clone()
    checkpointer = DetectionCheckpointer(model)
    checkpointer.load(f"{tmp_path}/a.pth?matching_heuristics=True")
    assert torch.equal(model.conv.bias, torch.ones(4))
    nn.Module.load_state_dict(model, {"backbone.stem.conv1.bias": before}, strict=False)
    checkpointer.load(f"{tmp_path}/a.pth")
    assert torch.equal(model.conv.bias, before)


def test_constants_are_neither_missing_nor_left(tmp_path, caplog):
    model = Model()
    state = {n: v for n, v in model.state_dict().items() if n != "pixel_mean"}
    state["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)
    torch.save({"model": state}, tmp_path / "a.pth")
    with caplog.at_level("WARNING"):
        DetectionCheckpointer(model).load(str(tmp_path / "a.pth"))
    assert not caplog.records


def test_training_state_round_trip(tmp_path):
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model.conv(torch.ones(1, 3, 3, 3)).sum().backward()
    optimizer.step()
    DetectionCheckpointer(model, str(tmp_path), optimizer=optimizer).save(
        "last", iteration=3, best={"AP": 0.5}
    )

    other = Model()
    fresh = torch.optim.Adam(other.parameters(), lr=9.0)
    rest = DetectionCheckpointer(other, str(tmp_path), optimizer=fresh).resume_or_load(
        "", resume=True
    )
    assert (rest["iteration"], rest["best"]) == (3, {"AP": 0.5})
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert fresh.state_dict()["param_groups"][0]["lr"] == 0.1


@bundled_only
def test_numbers_of_numpy_beside_the_weights_are_read(tmp_path):
    model = Model()
    saved = {"score": np.float64(0.5), "count": np.int32(3), "best": np.ones(2, np.float32)}
    torch.save({"model": model.state_dict(), **saved}, tmp_path / "a.pth")
    rest = DetectionCheckpointer(model).load(str(tmp_path / "a.pth"))
    assert (rest["score"], rest["count"], rest["best"].tolist()) == (0.5, 3, [1, 1])


def test_nothing_is_saved_where_disk_is_off(tmp_path):
    DetectionCheckpointer(Model(), str(tmp_path), save_to_disk=False).save("x")
    assert not list(tmp_path.iterdir())
