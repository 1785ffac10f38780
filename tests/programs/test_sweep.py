import json

from lowres_d2.analysis.cost.comparison import giga
from lowres_d2.engine.processes.folder_lock import folder_lock
from lowres_d2.engine.run_folder import LOCK
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import (
    Bicubic,
    Downsampled,
    DownUp,
    Identity,
    LearnedDownsampler,
)
from lowres_d2.programs.extract import main as extract
from lowres_d2.programs.sweep import _input, _models, main
from lowres_d2.programs.train import main as train

import pytest
from torch import nn

from toys.runs import ANY_FACTOR


def test_sweep_evaluates_one_model_at_each_resolution(toy_arguments, tmp_path, capsys):
    loose = "model.detector.test_score_thresh=0.0"
    train([*toy_arguments, loose, "train.max_iter=1"])
    weights = f"train.init_checkpoint={tmp_path / 'run' / 'model_final.pth'}"
    folder = tmp_path / "sweep"
    arguments = [*toy_arguments, loose, weights, f"train.output_dir={folder}"]
    main([*arguments[:2], "--factors", "1", "2", "3/2", *arguments[2:]])
    found = json.loads((folder / "sweep.json").read_text())
    assert list(found) == ["1", "2", "3/2"]
    assert [found[factor]["input"] for factor in found] == ["image", "bicubic", "bicubic"]
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


def test_an_any_factor_detector_is_swept_over_its_own_factors(toy_arguments, tmp_path):
    loose = "model.detector.test_score_thresh=0.0"
    arguments = [*toy_arguments, *ANY_FACTOR, loose]
    train([*arguments, "train.max_iter=4"])
    run, folder = tmp_path / "run", tmp_path / "sweep"
    weights = f"train.init_checkpoint={run / 'model_final.pth'}"
    main([*arguments, weights, f"train.output_dir={folder}"])
    found = json.loads((folder / "sweep.json").read_text())
    assert list(found) == ["1", "2"] and found["2"]["fewer_macs"] > 2
    # As the run's own evaluation, which was at the recipe's factor.
    boxes = "coco_instances_results.json"
    at_half = (folder / "resolution_2" / boxes).read_text()
    assert at_half == (run / boxes).read_text() and len(at_half) > 100
    assert at_half != (folder / "resolution_1" / boxes).read_text()
    # Its detector for plain Detectron2, at one factor.
    with pytest.raises(SystemExit):
        extract([str(run / "model_final.pth"), str(tmp_path / "plain.pth")])
    extract([str(run / "model_final.pth"), str(tmp_path / "plain.pth"), "--factor", "1"])
    plain = [*toy_arguments, loose, f"train.output_dir={tmp_path / 'plain'}"]
    train(["--eval-only", *plain, f"train.init_checkpoint={tmp_path / 'plain.pth'}"])
    at_full = (folder / "resolution_1" / boxes).read_text()
    assert at_full == (tmp_path / "plain" / boxes).read_text()


@pytest.mark.parametrize("kept", [Identity(), Bicubic(4), Downsampled(2, "box")])
def test_each_resolution_says_what_its_detector_sees(kept):
    own = getattr(kept, "interpolation", "bicubic")
    models = _models(LowResDetector(nn.Identity(), kept), ["1", "2"])
    assert [_input(model) for model in models.values()] == ["image", own]


@pytest.mark.parametrize("other", [DownUp(4), LearnedDownsampler(4)])
def test_a_detector_of_images_that_another_resampler_makes_is_refused(other):
    with pytest.raises(ValueError, match=rf"model\.resampler is {type(other).__name__}, in whose"):
        _models(LowResDetector(nn.Identity(), other), ["1"])


def test_a_quick_sweep_evaluates_a_sample_and_says_so(trained, tmp_path):
    weights = f"train.init_checkpoint={trained.file}"
    flags = ["--quick", "2", "--factors", "1"]
    recipe, *overrides = trained.arguments(tmp_path)[1:]
    main(["--config-file", recipe, *flags, *overrides, weights])
    folder = tmp_path / "on_2"
    found = json.loads((folder / "sweep.json").read_text())
    assert found["1"]["metric"] == "bbox_on_2/AP"
    assert found["1"]["low_resolution"]["accuracy"] is not None
    table = (folder / "sweep.md").read_text()
    assert "bbox_on_2/AP" in table
    # Of a small model in full: three digits, where three decimals would leave one or two.
    macs = found["1"]["low_resolution"]["macs"]
    assert f" {macs / 1e9:.3g} " in table and macs < 1e9
    scored = json.loads((folder / "resolution_1" / "sized_coco.json").read_text())
    assert scored["images"] == 2


def test_a_quick_sweep_holds_the_whole_folder_and_keeps_files_of_the_user(
    trained, tmp_path, capsys
):
    recipe, *overrides = trained.arguments(tmp_path)[1:]
    more = [*overrides, f"train.init_checkpoint={trained.file}"]
    arguments = ["--config-file", recipe, "--quick", "900", "--factors", "1", *more]
    with folder_lock(tmp_path / LOCK), pytest.raises(SystemExit):
        main(arguments)
    assert f"{tmp_path} is in use by process" in capsys.readouterr().err
    # Of fewer images than asked for, the sample's name says how many there are.
    for number in range(1, 20):
        (tmp_path / f"on_{number}").mkdir(exist_ok=True)
        (tmp_path / f"on_{number}" / "sweep.md").write_text("mine")
    with pytest.raises(SystemExit):
        main(arguments)
    assert "sweep.md: exists, and no earlier run wrote it" in capsys.readouterr().err


def test_a_quick_sweep_of_a_negative_number_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--config-file", "any.py", "--quick", "-1"])
    assert "--quick -1: expected a number of images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("macs", "shown"), [(27.4e6, "0.0274"), (157.96e6, "0.158"), (1.236e9, "1.236")]
)
def test_small_numbers_of_macs_keep_three_digits(macs, shown):
    assert giga(macs) == shown
