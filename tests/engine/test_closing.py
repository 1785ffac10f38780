"""The end of a run names what to continue with, and its commands work."""

import logging
import shlex

from lowres_d2.engine.closing import describe_end, describe_interruption
from lowres_d2.engine.hooks.best import BestWeights
from lowres_d2.programs.demo import main as demo
from lowres_d2.programs.train import main as train

import pytest
from omegaconf import OmegaConf

PROGRAMS = {"train": train, "demo": demo}
PROGRAM = {"evaluate": "train", "detect": "demo"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "my runs"
    folder.mkdir()
    (folder / "model_final.pth").write_bytes(b"")
    return folder


def described(folder, iterations=30, best=None):
    train = {"output_dir": str(folder), "max_iter": 30, "best": {"val_metric": "bbox/AP-small"}}
    lines = describe_end(OmegaConf.create({"train": train}), iterations, best).splitlines()
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}


def test_the_final_weights_are_named_where_there_are_no_best_ones(folder):
    found = described(folder)
    assert list(found) == ["iterations", "final", "recipe", "evaluate", "detect", "curves"]
    assert found["final"] == str(folder / "model_final.pth")
    assert f"train.init_checkpoint='{folder}/model_final.pth'" in found["evaluate"]
    assert shlex.split(found["curves"]) == ["tensorboard", "--logdir", str(folder)]


def test_ctrl_c_names_the_checkpoint_to_resume_from_or_says_that_there_is_none(folder):
    train = {"output_dir": str(folder), "checkpointer": {"period": 250}}
    cfg = OmegaConf.create({"train": train})
    none = (
        "interrupted before the first checkpoint (train.checkpointer.period=250): the run starts "
        "anew, with --resume as well"
    )
    assert describe_interruption(cfg) == none
    (folder / "last_checkpoint").write_text("model_0000249.pth")
    assert describe_interruption(cfg) == none  # its file was deleted
    (folder / "model_0000249.pth").write_bytes(b"")
    said = f"interrupted; --resume continues from {folder / 'model_0000249.pth'}"
    assert describe_interruption(cfg) == said


def test_ctrl_c_in_a_run_says_it_and_in_an_evaluation_does_not(toy_arguments, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for name in ("train", "evaluate_only"):
        monkeypatch.setattr(f"lowres_d2.programs.train.{name}", interrupt)
    for more, said in (
        ([], "interrupted before the first checkpoint (train.checkpointer.period="),
        (["--eval-only", "train.init_checkpoint=any.pth"], "interrupted\n"),
    ):
        with pytest.raises(SystemExit) as caught:
            train([*more, *toy_arguments])
        assert caught.value.code == 130
        assert capsys.readouterr().err.startswith(said)


def test_a_model_without_boxes_has_no_demo(folder):
    train = {"output_dir": str(folder), "max_iter": 30, "best": {"val_metric": "a/b"}}
    text = describe_end(OmegaConf.create({"train": train}), 30, None, "super_resolution")
    assert "demo" not in text
    assert "  evaluate " in text


def test_the_best_weights_come_with_their_metric(folder):
    (folder / "model_best.pth").write_bytes(b"")
    best = BestWeights(10, None, "bbox/AP-small")
    best.best_metric, best.best_iter = 31.25, 19
    found = described(folder, best=best)
    assert found["best"] == f"{folder / 'model_best.pth'} (bbox/AP-small 31.2, iteration 20)"
    assert f"train.init_checkpoint={folder / 'model_best.pth'}" in shlex.split(found["evaluate"])


def test_the_folder_says_all_that_detecting_needs(folder):
    words = shlex.split(described(folder)["detect"])
    flags = ["--weights", str(folder), "--input", "IMAGES", "--output", "FOLDER"]
    assert words[words.index("demo") + 1 :] == flags


def test_an_early_end_is_said(folder):
    assert described(folder, iterations=20)["iterations"] == "20 of 30, stopped early"


def test_the_commands_allow_the_users_own_modules(folder, tmp_path, monkeypatch):
    """Those that its config.yaml names, with the folder that they were found in."""
    own = tmp_path / "own code"
    (own / "my_package").mkdir(parents=True)
    (own / "my_package" / "__init__.py").write_text("class Part: ...\n")
    (own / "my_module.py").write_text("class Other: ...\n")
    monkeypatch.syspath_prepend(own)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("LOWRES_D2_TRUST", "my_module")
    config = folder / "config.yaml"
    config.write_text(
        "model: {_target_: my_package.Part, detector: {_target_: torch.nn.Identity}}\n"
        "norm: !!python/name:my_module.Other ''\nbackbone: {_target_: timm.create_model}\n"
    )
    trust = "LOWRES_D2_TRUST=my_module,my_package,timm"
    for label in ("evaluate", "detect"):
        words = shlex.split(described(folder)[label])
        assert words[:2] == [trust, f"PYTHONPATH={own}"]
        assert words[2:4] in (["lowres-d2", PROGRAM[label]], ["python", "-m"])
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert shlex.split(described(folder)["detect"])[1] == f"PYTHONPATH={own}:$PYTHONPATH"
    monkeypatch.setenv("PYTHONPATH", f"/elsewhere:{own}")
    assert "PYTHONPATH" not in described(folder)["detect"]
    config.write_text("model: {_target_: torch.nn.Identity}\n")
    assert "LOWRES_D2_TRUST" not in described(folder)["detect"]


def test_the_commands_of_a_run_work(toy_arguments, coco_json, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        train([*toy_arguments, "train.max_iter=1", "train.eval_period=9"])
    text = next(message for message in caplog.messages if message.startswith("finished"))
    commands = {line.split()[0]: shlex.split(line)[1:] for line in text.splitlines()[1:]}
    assert commands["best"][-2:] == ["iteration", "1)"]  # of 1, evaluated after training
    inputs = {"IMAGES": str(coco_json.parent / "images"), "FOLDER": str(tmp_path / "found")}
    for label in ("evaluate", "detect"):
        words = commands[label]
        start = next(k for k, word in enumerate(words) if word in PROGRAMS)
        PROGRAMS[words[start]]([inputs.get(word, word) for word in words[start + 1 :]])
    assert (tmp_path / "found" / "detections.json").is_file()
