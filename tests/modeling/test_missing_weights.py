"""What a message says about weights that are not there."""

from lowres_d2.modeling.run_weights import weights_file

import pytest


def said_of(path):
    with pytest.raises(FileNotFoundError) as caught:
        weights_file(path)
    return str(caught.value)


def run(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("model_0000249.pth")


def test_the_weights_of_a_run_are_named_and_how_it_is_finished(tmp_path):
    folder = tmp_path / "run"
    run(folder, "model_0000249.pth", "last_checkpoint", "non_finite_3.pth", ".model_1.pth")
    assert said_of(folder / "model_best.pth") == (
        f"no weights at {folder}/model_best.pth; {folder} has model_0000249.pth; its run has not "
        f"finished: train --config-file {folder}/config.yaml --resume continues it"
    )
    (folder / "model_final.pth").touch()
    said = said_of(folder / "model_best.pth")
    assert said.endswith(f"; {folder} has model_final.pth, model_0000249.pth")
    said = said_of(folder / "model_finl.pth?matching_heuristics=True")
    assert ", nearest: 'model_final.pth'; " in said


def test_the_nearest_run_or_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "output" / "full_fcos_small_own", "model_final.pth")
    run(tmp_path / "output" / "no_run", "log.txt")
    near = "output/full_fcos_small_own"
    assert said_of("output/full_fcos_small_won") == (
        f"no weights at output/full_fcos_small_won, nearest: '{near}'"
    )
    final = "full_fcos_small_won/model_final.pth"
    assert said_of(f"output/{final}").endswith(f", nearest: '{near}/model_final.pth'")
    assert said_of("output/nothing").endswith(f"; there are {near}")
    assert said_of("nothing").endswith(": give a .pth, .pkl or .safetensors file of weights")
    assert said_of("/nowhere/t.pth").startswith("no weights at /nowhere/t.pth: give")
    (tmp_path / "zoo.pkl").touch()
    assert said_of("zo.pkl").endswith("nearest: 'zoo.pkl'; . has zoo.pkl")


def test_addresses_and_odd_files_pass(tmp_path):
    for path in ("https://host/a.pth", "detectron2://a.pkl?matching_heuristics=True"):
        assert weights_file(path) == path
    odd = tmp_path / "a?b.pth"
    odd.touch()
    assert weights_file(odd) == str(odd)
