import json

from lowres_d2.engine.cli import main as train
from lowres_d2.engine.sweep import main

import pytest


def test_sweep_evaluates_one_model_at_each_resolution(toy_arguments, tmp_path, capsys):
    loose = "model.detector.test_score_thresh=0.0"
    train([*toy_arguments, loose, "train.max_iter=1"])
    weights = f"train.init_checkpoint={tmp_path / 'run' / 'model_final.pth'}"
    folder = tmp_path / "sweep"
    arguments = [*toy_arguments, loose, weights, f"train.output_dir={folder}"]
    main([*arguments[:2], "--factors", "1", "2", "3/2", *arguments[2:]])
    found = json.loads((folder / "sweep.json").read_text())
    assert list(found) == ["1", "2", "3/2"]
    assert found["1"]["fewer_macs"] == 1 and found["2"]["fewer_macs"] == pytest.approx(4)
    own = json.loads((tmp_path / "run" / "evaluation.json").read_text())["bbox"]["AP"]
    assert found["1"]["low_resolution"]["accuracy"] == own
    boxes = "coco_instances_results.json"
    at_full = (folder / "resolution_1" / boxes).read_text()
    assert at_full == (tmp_path / "run" / boxes).read_text() and len(at_full) > 100
    assert at_full != (folder / "resolution_3_2" / boxes).read_text()
    assert "| 2/3 " in (folder / "sweep.md").read_text()
    assert (folder / "sweep.png").stat().st_size > 1000
    capsys.readouterr()
    for factor, more, named in (("0", [weights], "factor='0'"), ("2", [], "init_checkpoint")):
        with pytest.raises(SystemExit):
            main([*toy_arguments, "--factors", factor, *more])
        assert named in capsys.readouterr().err
