import json

from lowres_d2.programs.compare import compare, compared_runs, main
from lowres_d2.programs.recipe_runs import check_runs

import pytest

from toys.data import ToyData


@pytest.fixture
def overrides(tmp_path):
    data = ToyData(tmp_path / "data", number=6)
    data.write()
    return [
        *data.overrides(),
        "train.max_iter=3",  # an iteration of each stage
        "train.eval_period=0",
        "train.teacher_check.images=0",
        "dataloader.train.mapper.augmentations.0.max_size=64",
        "dataloader.test.mapper.augmentations.0.max_size=64",
    ]


@pytest.mark.slow
def test_one_command_trains_and_compares_on_own_data(tmp_path, overrides):
    report = compare(tmp_path / "out", 2, overrides)
    text = report.read_text()
    for title in ("full resolution", "bicubic 2x", "ThumbDet 2x"):
        assert f"| {title} " in text
    assert "MACs, G" in text and (tmp_path / "out" / "trade_off.png").is_file()
    start = json.loads((tmp_path / "out" / "teacher" / "done.json").read_text())
    assert start["iterations"] == 3
    saved = (tmp_path / "out" / "thumbdet2" / "config.yaml").read_text()
    assert "teacher/model_final.pth" in saved and "num_classes: 2" in saved


def test_both_factors_are_checked_before_the_first_training(tmp_path, overrides):
    for factor in (2, 4):
        runs = compared_runs(tmp_path / "out", factor, overrides)
        check_runs(runs)
        cfg = runs[-1].config()
        assert cfg.model.resampler.factor == runs[-2].config().model.resampler.factor == factor


def test_missing_data_ends_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path / "out"), "data.train_json=/no/train.json"])
    error = capsys.readouterr().err
    assert "/no/train.json" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
