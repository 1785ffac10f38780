import json

from lowres_d2.data.datasets.pseudo_labels import PseudoLabels
from lowres_d2.engine.build import build_model
from lowres_d2.engine.compare import COUNTED_IMAGES, FullResolutionModel, images_to_time
from lowres_d2.engine.identity import recipe_text
from lowres_d2.modeling.teacher import Teacher
from lowres_d2.programs.analyze import main as analyze
from lowres_d2.programs.pack import main as pack
from lowres_d2.programs.train import main
from lowres_d2.recipes.load import load_recipe

import pytest
import torch
from torch import nn

from toys.runs import PLAIN, STAGED, run_overrides

LOOSE = "model.detector.test_score_thresh=0.0"


def results(folder):
    return json.loads((folder / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def teacher_folder(coco_json, tmp_path_factory):
    """A teacher trained for one iteration; its weights, which also fit its student, and metrics."""
    folder = tmp_path_factory.mktemp("teacher")
    overrides = run_overrides(coco_json, iterations=1, log_period=2)
    main(["--config-file", PLAIN, *overrides, LOOSE, f"train.output_dir={folder}"])
    return folder


@pytest.fixture
def student_arguments(toy_arguments, teacher_folder):
    weights = teacher_folder / "model_final.pth"
    rest = [*toy_arguments[2:], LOOSE, "model.teacher.model.test_score_thresh=0.0"]
    return [
        "--config-file",
        STAGED,
        *[word for word in rest if "max_iter" not in word],
        f"train.init_checkpoint={weights}",
        f"model.teacher.checkpoint={weights}",
    ]


def test_evaluation_compares_a_student_with_its_teacher(
    student_arguments, teacher_folder, tmp_path, capsys
):
    main(["--eval-only", *student_arguments])
    found = results(tmp_path / "run")
    comparison, full = found["comparison"], found["comparison"]["full_resolution"]
    assert full["accuracy"] == results(teacher_folder)["bbox"]["AP"]
    assert comparison["low_resolution"]["accuracy"] == found["bbox"]["AP"]
    assert full["parameters"] == comparison["low_resolution"]["parameters"]
    assert comparison["fewer_macs"] > 3
    assert comparison["images_counted"] == comparison["images_timed"] == 6
    boxes = "coco_instances_results.json"
    found_again = (tmp_path / "run" / "full_resolution" / boxes).read_text()
    assert found_again == (teacher_folder / boxes).read_text() and len(json.loads(found_again)) > 50
    shown = capsys.readouterr().out
    assert "full resolution" in shown and "images/s" in shown and "drop, %" in shown


def test_macs_are_counted_on_a_hundred_images_and_a_cpu_times_fewer():
    images = [{"image": k} for k in range(COUNTED_IMAGES)]
    assert COUNTED_IMAGES == 100  # ThumbDet, Table 2
    assert images_to_time(images, nn.Linear(1, 1)) == images[:16]


def test_metrics_of_a_quick_evaluation_have_its_number_of_images_in_their_names(
    student_arguments, tmp_path, capsys
):
    main(["--eval-only", "--quick", "3", *student_arguments])
    found = results(tmp_path / "run" / "on_3")
    assert set(found) == {"bbox_on_3", "comparison", "evaluated"}
    assert found["comparison"]["metric"] == "bbox_on_3/AP"
    assert found["comparison"]["low_resolution"]["accuracy"] == found["bbox_on_3"]["AP"]
    assert found["bbox_on_3"]["GT-all"] == found["comparison"]["images_timed"] == 3
    assert f"bbox_on_3/AP {found['bbox_on_3']['AP']:.1f}" in capsys.readouterr().out
    assert not (tmp_path / "run" / "evaluation.json").exists()
    with pytest.raises(SystemExit):
        main(["--quick", "3", *student_arguments])
    assert "--quick" in capsys.readouterr().err


def test_agreement_with_pseudo_labels_is_called_so(student_arguments, coco_json, tmp_path, capsys):
    content = json.loads(coco_json.read_text())
    info = PseudoLabels("teacher.pth").coco([], [], {})["info"]
    pseudo = tmp_path / "pseudo.json"
    pseudo.write_text(json.dumps(content | {"info": info}))
    images = f"data.val_images={coco_json.parent / 'images'}"
    main(["--eval-only", *student_arguments, f"data.val_json={pseudo}", images])
    assert results(tmp_path / "run")["comparison"]["metric"] == "bbox/AP (agreement)"
    assert "bbox/AP (agreement)" in capsys.readouterr().out


def test_training_compares_nothing(student_arguments, tmp_path):
    main(student_arguments)
    assert set(results(tmp_path / "run")) == {"bbox", "evaluated"}


def test_teacher_is_not_needed_without_a_comparison(student_arguments, tmp_path):
    student_arguments[-1] = "model.teacher.checkpoint=gone.pth"
    main(["--eval-only", *student_arguments, "train.compare_teacher=False"])
    assert set(results(tmp_path / "run")) == {"bbox", "evaluated"}


def test_missing_teacher_is_named_with_the_key_that_skips_it(student_arguments, capsys):
    student_arguments[-1] = "model.teacher.checkpoint=gone.pth"
    with pytest.raises(SystemExit):
        main(["--eval-only", *student_arguments])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "gone.pth" in line and "train.compare_teacher=False" in line


def test_teacher_without_weights_is_not_compared_with(student_arguments, tmp_path, capsys):
    main(["--eval-only", *student_arguments[:-1], "model.teacher.checkpoint=''"])
    assert set(results(tmp_path / "run")) == {"bbox", "evaluated"}
    assert "model.teacher.checkpoint" in capsys.readouterr().out


def test_teacher_gets_images_in_its_channel_order():
    class Echo(nn.Module):
        def forward(self, inputs):
            return [{"image": x["image"], "height": x["height"]} for x in inputs]

    image = torch.arange(12).view(3, 2, 2)
    inputs = [{"image": image, "height": 7}]
    for flip, expected in ((False, image), (True, image[[2, 1, 0]])):
        (output,) = FullResolutionModel(Teacher(Echo(), flip_channels=flip))(inputs)
        assert torch.equal(output["image"], expected) and output["height"] == 7


def test_analysis_of_a_recipe_by_part(capsys):
    recipe = ["--config-file", "configs/quick/bicubic4_fcos_small_64_plates.py"]
    analyze([*recipe, "--size", "128", "128", "--json", "--latency", "train.device=cpu"])
    found = json.loads(capsys.readouterr().out)
    full, low = found["full resolution"], found["low resolution"]
    assert full["parameters"] == low["parameters"]
    assert full["macs"]["head"] == 16 * low["macs"]["head"]
    assert low["images_per_second"] > 0 and set(low["seconds"]) >= {"resampler", "head", "rest"}
    analyze([*recipe, "--size", "128", "128", "train.device=cpu"])
    assert "MACs, G" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        analyze([*recipe, "--size", "64", "0", "train.device=cpu"])
    assert "--size 64 0" in capsys.readouterr().err


def test_analysis_of_a_one_bit_detector_shows_memory_and_operations(capsys):
    recipe = ["--config-file", "tests/toys/recipes/one_bit.py", "train.device=cpu"]
    analyze([*recipe, "--size", "64", "64", "--json"])
    found = json.loads(capsys.readouterr().out)["full resolution"]
    for part in ("backbone", "neck", "head"):
        real = found["macs"][part] - found["low_bit_macs"][part]
        assert found["ops"][part] == real + found["low_bit_macs"][part] / 64
        assert found["weight_memory"][part] < found["memory"][part] < 4 * found["parameters"][part]
    analyze([*recipe, "--size", "64", "64"])
    shown = capsys.readouterr().out
    assert "low-bit MACs, G" in shown and "OPs, G" in shown and "counted as 1/64" in shown
    assert f"{sum(found['weight_memory'].values()) / 1e6:.3f} MB without biases" in shown


def test_analysis_of_packed_weights_times_them(tmp_path, capsys):
    recipe = "tests/toys/recipes/one_bit.py"
    cfg = load_recipe(recipe, ["train.device=cpu"])
    weights = {"model": build_model(cfg).state_dict(), "recipe": recipe_text(cfg)}
    torch.save(weights, tmp_path / "model_final.pth")
    file = tmp_path / "packed.safetensors"
    pack([str(tmp_path), str(file)])
    capsys.readouterr()
    analyze(["--weights", str(file), "--size", "64", "64", "--json", "--latency"])
    found = json.loads(capsys.readouterr().out)["full resolution"]
    assert found["images_per_second"] > 0 and found["seconds"]["backbone"] > 0
    # So small a file has names and its recipe for a large part.
    assert 1 < file.stat().st_size / sum(found["memory"].values()) < 1.5


def test_analysis_takes_the_recipe_of_weights(tmp_path, capsys):
    recipe = "configs/quick/bicubic4_fcos_small_64_plates.py"
    cfg = load_recipe(recipe, ["train.device=cpu"])
    weights = {"model": build_model(cfg).state_dict(), "recipe": recipe_text(cfg)}
    torch.save(weights, tmp_path / "model_final.pth")
    found = []
    for given in (["--weights", str(tmp_path)], ["--config-file", recipe, "train.device=cpu"]):
        analyze([*given, "--size", "64", "64", "--json"])
        found.append(json.loads(capsys.readouterr().out))
    assert found[0].pop("recipe") == str(tmp_path) and found[1].pop("recipe") == recipe
    assert found[0] == found[1]
    with pytest.raises(SystemExit, match="2"):
        analyze(["--size", "64", "64"])
    assert "--config-file RECIPE is needed, or --weights of a run" in capsys.readouterr().err
