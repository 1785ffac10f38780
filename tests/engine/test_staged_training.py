import shutil

from lowres_d2.programs.train import main

import pytest
import torch

from toys.runs import STAGED


def model_at(folder, iteration):
    return torch.load(folder / f"model_{iteration:07d}.pth", weights_only=True)


@pytest.fixture
def arguments(toy_arguments):
    toy_arguments[1] = STAGED
    kept = [a for a in toy_arguments if not a.startswith("train.checkpointer")]
    return [*kept, "train.checkpointer.period=1", "train.checkpointer.max_to_keep=9"]


def changed(a, b):
    return {name for name in a if not torch.equal(a[name], b[name])}


def test_stages_train_their_parameters_and_resume_inside_and_across(arguments, tmp_path):
    main(arguments)
    whole = tmp_path / "run"
    states = [model_at(whole, k) for k in range(6)]
    assert [state["run"]["stage"] for state in states] == ["neck"] * 4 + ["all"] * 2
    first = changed(states[0]["model"], states[3]["model"])
    assert first and all(name.startswith("detector.backbone.bottom_up.") for name in first)
    # Batch-norm statistics in a module that is kept in eval mode are frozen.
    assert not any("stem" in name and "running" in name for name in first)
    second = changed(states[3]["model"], states[5]["model"])
    assert any(name.startswith("detector.head.") for name in second)
    assert not any("teacher" in name for name in states[5]["model"])
    for stop in (1, 3, 4):  # inside the first stage, at its end, inside the second
        folder = tmp_path / f"stopped{stop}"
        folder.mkdir()
        shutil.copy(whole / f"model_{stop:07d}.pth", folder)
        (folder / "last_checkpoint").write_text(f"model_{stop:07d}.pth")
        main(["--resume", *arguments, f"train.output_dir={folder}"])
        assert not changed(states[5]["model"], model_at(folder, 5)["model"])


def test_a_longer_run_continues_the_stage_that_it_was_in(arguments, tmp_path):
    shares = ["train.stages.0.iterations=0.5", "train.stages.1.iterations=0.5"]
    main([*arguments, *shares, "train.max_iter=2"])
    main(["--resume", *arguments, *shares, "train.max_iter=6"])
    states = [model_at(tmp_path / "run", k)["run"] for k in range(6)]
    assert [state["stage"] for state in states] == ["neck"] + ["all"] * 5
    assert [state["stages"] for state in states[1:3]] == [
        [["neck", 1], ["all", 1]],
        [["neck", 1], ["all", 5]],
    ]


@pytest.mark.slow
def test_two_processes_cross_a_stage_boundary_also_where_they_resume(arguments, tmp_path, ranks):
    main_program, killed = "lowres_d2.programs.train:main", tmp_path / "killed"
    ends = ranks.run(main_program, *arguments)
    assert [end.code for end in ends] == [0, 0], ends[0].text[-2000:]
    final = model_at(tmp_path / "run", 5)
    assert final["run"]["stage"] == "all"
    assert changed(model_at(tmp_path / "run", 3)["model"], final["model"])
    arguments = [*arguments, f"train.output_dir={killed}"]
    ends = ranks.run(main_program, *arguments, fails="1 4 killed")  # after the boundary
    assert ends[0].code
    (killed / "last_checkpoint").write_text("model_0000002.pth")  # before it
    ends = ranks.run(main_program, "--resume", *arguments)
    assert [end.code for end in ends] == [0, 0], ends[0].text[-2000:]
    assert not changed(final["model"], model_at(killed, 5)["model"])
