import json
import shutil

from lowres_d2.programs.train import main

import pytest
import torch


def weights(path):
    return torch.load(path, weights_only=True)


def assert_same_tensors(a, b):
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


@pytest.mark.parametrize(
    "extra", [[], ["train.ema.enabled=true", "train.clip_gradients.enabled=true"]]
)
def test_killed_run_resumes_to_the_same_bits(toy_arguments, tmp_path, extra):
    main([*toy_arguments, *extra])
    whole, broken = tmp_path / "run", tmp_path / "broken"
    broken.mkdir()
    shutil.copy(whole / "model_0000002.pth", broken)
    (broken / "last_checkpoint").write_text("model_0000002.pth")
    main(["--resume", *toy_arguments, *extra, f"train.output_dir={broken}"])
    a, b = weights(whole / "model_final.pth"), weights(broken / "model_final.pth")
    assert_same_tensors(a["model"], b["model"])
    assert a["run"] == b["run"]
    assert a["trainer"]["iteration"] == b["trainer"]["iteration"] == 5
    if extra:
        assert_same_tensors(a["ema"], b["ema"])


def test_a_resumed_run_repeats_an_evaluation_that_a_kill_interrupted(toy_arguments, tmp_path):
    toy_arguments += ["train.eval_period=2", "train.checkpointer.period=2"]
    # Nothing is found, so that the first evaluation stays the best one.
    toy_arguments += ["model.detector.test_score_thresh=1.0"]
    main(toy_arguments)
    whole, broken = tmp_path / "run", tmp_path / "broken"
    broken.mkdir()
    shutil.copy(whole / "model_0000001.pth", broken)  # written before the evaluation
    (broken / "last_checkpoint").write_text("model_0000001.pth")
    main(["--resume", *toy_arguments, f"train.output_dir={broken}"])
    for name in ("model_best.pth", "model_final.pth"):
        a, b = weights(whole / name), weights(broken / name)
        assert a["trainer"]["iteration"] == b["trainer"]["iteration"]
        assert a["trainer"]["hooks"]["BestWeights"] == b["trainer"]["hooks"]["BestWeights"]
        assert_same_tensors(a["model"], b["model"])
    assert weights(broken / "model_best.pth")["trainer"]["iteration"] == 1


def test_run_leaves_checkpoints_logs_images_and_results(toy_arguments, tmp_path):
    main([*toy_arguments, "train.eval_period=3"])
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.json", "evaluation.json"} <= names
    assert {"model_best.pth", "model_final.pth", "last_checkpoint"} <= names
    assert any(name.startswith("events.out") for name in names)
    assert weights(folder / "model_final.pth")["classes"] == ["red", "green"]
    keys = {key for line in logged(folder) for key in line}
    assert {"total_loss", "loss_fcos_cls", "lr", "time", "bbox/AP"} <= keys


@pytest.mark.parametrize("extra", [[], ["train.ema.enabled=true", "train.ema.decay=0.5"]])
def test_eval_only_repeats_the_last_evaluation_of_training(toy_arguments, tmp_path, extra):
    toy_arguments += ["model.detector.test_score_thresh=0.0", "optimizer.lr=0.01", *extra]
    main(toy_arguments)
    first = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    again = tmp_path / "again"
    main(
        [
            "--eval-only",
            *toy_arguments,
            f"train.init_checkpoint={tmp_path / 'run' / 'model_final.pth'}",
            f"train.output_dir={again}",
        ]
    )
    assert json.loads((again / "evaluation.json").read_text()) == first
    assert not (again / "model_final.pth").exists()


def test_print_config_shows_the_difference_and_trains_nothing(toy_arguments, tmp_path, capsys):
    main(["--print-config", *toy_arguments])
    shown = capsys.readouterr().out
    assert "train.max_iter:" in shown and "-> 6" in shown
    assert not (tmp_path / "run").exists()
