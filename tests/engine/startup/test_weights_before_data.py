"""Missing weights are said before data is read or generated, in every program that takes both."""

import lowres_d2
from lowres_d2.data.plates import dataset
from lowres_d2.programs import (
    analyze,
    demo,
    extract,
    pack,
    pseudo_label,
    sweep,
    tiles,
    train,
    visualize,
)

import pytest
from PIL import Image

PLATES = "configs/quick/full_fcos_small_256_plates.py"
TAUGHT = "projects/ThumbDet/configs/quick/thumbdet4_fcos_small_64_plates.py"
MISSING = "output/full_fcos_small_256_plates/model_none.pth"
KEY = "train.init_checkpoint"
INIT, TEACHER = f"{KEY}={MISSING}", f"model.teacher.checkpoint={MISSING}"
OF = ["--config-file", PLATES]


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    def generate(*args, **kwargs):
        raise AssertionError("the data is generated")

    monkeypatch.setattr(dataset, "ensure_generated", generate)
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    (tmp_path / "own.pth").touch()


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (train, [*OF, INIT, "{run}"]),
        (train, ["--resume", *OF, INIT, "{run}"]),
        (train, ["--config-file", TAUGHT, TEACHER, "{run}"]),
        (train, ["--eval-only", *OF, INIT, "{run}"]),
        (train, ["--eval-only", "--config-file", TAUGHT, f"{KEY}={{own}}", TEACHER, "{run}"]),
        (sweep, [*OF, INIT, "{run}"]),
        (tiles, [*OF, "+tiles.first=4", INIT, "{run}"]),
        (analyze, [*OF, "--weights", MISSING]),
        (demo, [*OF, "--weights", MISSING, "--input", "{folder}", "--output", "{folder}/o"]),
        (pseudo_label, ["--weights", MISSING, "--images", "{folder}", "--output", "{folder}/o",
                        "--held-out", "0"]),
        (visualize, ["all", "--runs", PLATES, f"{PLATES}@{MISSING}", "--output", "{folder}/o"]),
        (extract, [MISSING, "{folder}/plain.pth"]),
        (pack, [MISSING, "{folder}/packed.safetensors", *OF]),
    ],
)  # fmt: skip
def test_missing_weights_are_said_before_data_is_generated(program, arguments, tmp_path, capsys):
    places = {"folder": tmp_path, "run": f"train.output_dir={tmp_path}/run"}
    own = tmp_path / "own.pth"
    with pytest.raises(SystemExit) as caught:
        program.main([argument.format(own=own, **places) for argument in arguments])
    assert caught.value.code == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"no weights at {MISSING}" in line
    assert line.partition(f"it is the folder of {PLATES}: train that first")[1]


def test_load_says_so_too():
    with pytest.raises(FileNotFoundError, match="train that first"):
        lowres_d2.load(PLATES, weights=MISSING)
