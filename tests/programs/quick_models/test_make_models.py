"""Quick models made in short: what their files hold, and their names in place of weights."""

from dataclasses import replace
from pathlib import Path

import lowres_d2
from lowres_d2 import quick_models
from lowres_d2.engine.identity import identify, recipe_of
from lowres_d2.engine.trained import trained_model
from lowres_d2.modeling.checkpoint_keys import COUNTER
from lowres_d2.modeling.run_weights import weights_file
from lowres_d2.programs import demo, make_models, models
from lowres_d2.programs.make_models import MADE
from lowres_d2.programs.shown_runs import open_run
from lowres_d2.weight_files import read_weight_file

import numpy as np
import pytest
import torch
from PIL import Image

CHANGES = [
    "train.max_iter=3",
    "train.teacher_check.images=0",
    "train.device=cpu",
    "dataloader.train.dataset.num_images=8",
    "dataloader.test.dataset.num_images=2",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
]
NAMES = ["thumbdet4", "one_bit"]  # that are made: a taught one, and a packed one
pytestmark = pytest.mark.slow


def make(folder):
    make_models.main(["--output", str(folder), "--only", *NAMES, *CHANGES])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of quick models that were made in short."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(folder / "data"))
        make(folder)
        yield folder


@pytest.fixture
def made(folder, monkeypatch):
    """The same folder in place of the package's."""
    monkeypatch.setattr(quick_models, "FOLDER", folder)
    return folder


def image():
    return np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)


def rows(found):
    columns = (found.scores[:, None], found.pred_classes[:, None], found.pred_boxes.tensor)
    return torch.cat([x.float() for x in columns], dim=1)


def test_a_model_is_its_run_in_float16(made):
    cfg, weights = recipe_of(None, made / "runs" / "thumbdet4" / "model_final.pth")
    model, _ = trained_model(cfg, weights.weights)
    for x in model.state_dict().values():
        x.copy_(x.half())
    pixels = torch.from_numpy(image().transpose(2, 0, 1).copy())
    with torch.no_grad():
        expected = rows(model([{"image": pixels}])[0]["instances"].to("cpu"))
    detector = lowres_d2.load("thumbdet4", device="cpu")
    assert len(expected) and torch.equal(rows(detector(image(), score=0)), expected)
    assert detector.info.factor == 4 and len(detector.class_names) == 8


def test_a_file_holds_what_detecting_needs(made):
    found = read_weight_file(made / "thumbdet4.safetensors")
    numbers = [x for name, x in found["model"].items() if not name.endswith(COUNTER)]
    assert {x.dtype for x in numbers} == {torch.float16}
    assert {name.partition(".")[0] for name in found["model"]} == {"detector", "resampler"}
    for name in NAMES:
        recipe = read_weight_file(made / f"{name}.safetensors")["recipe"]
        assert not [
            word for word in ("Teacher", "objectives", str(made), "runs/") if word in recipe
        ]
    packed = read_weight_file(made / "one_bit.safetensors")
    assert packed["packed"] and packed["card"]["stored"] == "1-bit layers in bits"


def test_cards_are_complete(made):
    found = lowres_d2.models()
    assert list(found) == sorted(NAMES)
    for name, model in found.items():
        card = model.card
        assert (card.recipe, card.summary) == (MADE[name].recipe, MADE[name].summary)
        assert card.command == f"lowres-d2 make-models --output DIR {' '.join(CHANGES)}"
        assert (card.seed, card.iterations, card.macs_size) == (1, 3, (480, 640))
        assert card.measured_on == "the 2 images of their test split"
        assert len(card.ap_by_size) >= 3 and card.ap >= 0 and card.commit
    assert found["one_bit"].card.knows == "generated plates of 4 to 16 px"
    assert identify("thumbdet4").knows == "generated plates of 6 to 96 px"
    taught = replace(found["thumbdet4"].card, ap=12.34, ap_by_size={"small": None, "large": 5.0})
    said = str(replace(found["thumbdet4"], card=taught))
    assert " 12.3 on the 2 images of" in said and "small no objects, large 5.0" in said


def test_made_again_nothing_is_trained(made, capsys):
    before = {name: (made / f"{name}.safetensors").read_bytes() for name in NAMES}
    make(made)
    assert capsys.readouterr().out.count("done before") == 4
    assert before == {name: (made / f"{name}.safetensors").read_bytes() for name in NAMES}


def test_names_are_taken_where_weights_are(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert weights_file("thumbdet4") == str(made / "thumbdet4.safetensors")
    run = open_run("small=one_bit", tmp_path)
    assert run.name == "small"
    (tmp_path / "one_bit").write_text("a file of the user's")
    assert weights_file("one_bit") == "one_bit"


def test_the_demo_takes_a_name_alone_and_says_what_the_model_knows(
    made, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(image()).save("image.png")
    demo.main(["--weights", "thumbdet4", "--input", "image.png"])
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        "thumbdet4: a quick model, which knows generated plates of 6 to 96 px and nothing else"
    )
    assert {"image.png", "detections.json"} <= {p.name for p in Path("output/demo").iterdir()}


def test_an_unknown_name_is_named_with_the_nearest(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"a quick model, nearest: 'thumbdet4'$"):
        lowres_d2.load("thumbdet")
    with pytest.raises(FileNotFoundError, match=r"no weights at onebit, nearest: 'one_bit'$"):
        weights_file("onebit")
    with pytest.raises(KeyError, match="no quick model 'onebit', nearest: 'one_bit'"):
        lowres_d2.models()["onebit"]
    with pytest.raises(SystemExit, match="error: no quick model 'onebit', nearest: 'one_bit'"):
        models.main(["onebit"])
    with pytest.raises(SystemExit):
        make_models.main(["--output", str(tmp_path), "--only", "onebit"])
    assert "--only: invalid choice: 'onebit'" in capsys.readouterr().err


def test_the_program_prints_the_table_and_a_card(made, capsys):
    models.main([])
    head, _, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["name", "what", "knows"]
    assert [row.split()[0] for row in rows] == sorted(NAMES) and last.startswith("OPs are")
    models.main(["one_bit"])
    assert capsys.readouterr().out == f"{lowres_d2.models()['one_bit']}\n"


def test_a_model_that_loses_ap_is_refused(made, monkeypatch):
    monkeypatch.setattr(make_models, "MOST_LOST", -1)
    with pytest.raises(ValueError, match=r"thumbdet4: 0\.00 AP are lost where its weights are sto"):
        make_models.make_models(made, ["thumbdet4"], CHANGES)
