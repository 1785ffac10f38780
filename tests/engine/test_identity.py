import pickle

from lowres_d2.engine.identity import identify, recipe_text
from lowres_d2.engine.startup.weights import naming_weights
from lowres_d2.modeling.run_weights import weights_file
from lowres_d2.programs.extract import extract_detector
from lowres_d2.recipes.load import load_recipe
from lowres_d2.saved_configs import RefusedConfigError

import numpy as np
import pytest
import torch
from detectron2.config import LazyConfig

from toys.data import CLASSES
from toys.runs import PLAIN

ZOO = "Detectron2 Model Zoo"


def zoo_file(path, author, **predictors):
    model = {name.replace("__", "."): np.zeros(outputs) for name, outputs in predictors.items()}
    path.write_bytes(pickle.dumps({"model": model, "__author__": author}))
    return path


def test_a_checkpoint_says_its_classes_and_its_recipe_wherever_it_lies(trained, tmp_path):
    moved = tmp_path / "elsewhere.pth"
    moved.write_bytes(trained.file.read_bytes())
    found = identify(moved)
    assert found.classes == tuple(CLASSES)
    assert found.weights == str(moved)
    cfg = found.load_recipe(["train.seed=7"])
    assert cfg.train.seed == 7
    assert cfg.model == load_recipe(trained.folder / "config.yaml").model


def test_a_recipe_that_is_refused_is_named_by_its_weights(trained, tmp_path):
    state = torch.load(trained.file, weights_only=True)
    state["recipe"] = state["recipe"].replace("lowres_d2.modeling", "theirs.modeling", 1)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(RefusedConfigError) as caught:
        identify(tmp_path / "weights.pth").load_recipe()
    assert str(caught.value).startswith(f"the recipe in {tmp_path / 'weights.pth'}")
    with pytest.raises(KeyError, match=r"train\.sed"):
        identify(trained.file).load_recipe(["train.sed=1"])


def test_missing_weights_say_their_key_and_the_recipe_that_makes_them():
    base = "output/base_faster_rcnn_small_own"
    for path in (base, f"{base}/model_final.pth"):
        with pytest.raises(FileNotFoundError) as caught, naming_weights("train.x", path):
            raise FileNotFoundError(f"no weights at {path}")
        assert str(caught.value) == (
            f"train.x: no weights at {path}; it is the folder of "
            "configs/own_data/base_faster_rcnn_small_own.py: train that first"
        )
    said = pytest.raises(FileNotFoundError, match=r"^the teacher \(a\.b\): none$")
    with said, naming_weights("a.b", "/my/weights.pth"):
        raise FileNotFoundError("the teacher (a.b): none")


def test_a_run_folder_is_its_best_weights_else_the_final_else_the_last(trained, tmp_path):
    assert identify(trained.folder).weights == str(trained.folder / "model_final.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000003.pth")
    for name in ("model_0000003.pth", "model_final.pth", "model_best.pth"):
        (tmp_path / name).write_bytes(b"")
        assert weights_file(tmp_path) == str(tmp_path / name)


def test_a_folder_without_weights_says_what_it_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a folder without weights .*model_final\.pth"):
        identify(tmp_path)
    (tmp_path / "earlier1").mkdir()
    (tmp_path / "earlier1" / "model_final.pth").touch()
    with pytest.raises(FileNotFoundError, match="files of earlier runs there are in earlier1"):
        identify(tmp_path)


def test_a_checkpoint_of_before_takes_the_recipe_beside_it(trained, tmp_path):
    state = torch.load(trained.file, weights_only=True)
    del state["recipe"]
    torch.save(state, tmp_path / "model_final.pth")
    assert identify(tmp_path).recipe == ""
    (tmp_path / "config.yaml").write_text("beside: it")
    assert identify(tmp_path).recipe == "beside: it"


def test_foreign_weights_do_not_take_the_recipe_beside_them(tmp_path):
    torch.save({"model": {"a": torch.zeros(2)}}, tmp_path / "theirs.pth")
    (tmp_path / "config.yaml").write_text("another: model")
    found = identify(tmp_path / "theirs.pth")
    assert (found.classes, found.recipe) == ((), "")
    with pytest.raises(ValueError, match=r"theirs\.pth does not say .* --config-file"):
        found.load_recipe()


@pytest.mark.parametrize(
    ("predictors", "number", "first"),
    [
        ({"roi_heads__box_predictor__cls_score__weight": (81, 8)}, 80, "person"),
        ({"roi_heads__box_predictor__0__cls_score__bias": 81}, 80, "person"),
        ({"head__cls_score__bias": 720}, 80, "person"),
        ({"roi_heads__box_predictor__cls_score__weight": (21, 8)}, 20, "aeroplane"),
    ],
)
def test_weights_of_the_zoo_have_their_data_sets_classes(tmp_path, predictors, number, first):
    found = identify(zoo_file(tmp_path / "zoo.pkl", ZOO, **predictors))
    assert len(found.classes) == number
    assert found.classes[0] == first


@pytest.mark.parametrize(
    ("author", "predictors"),
    [
        (ZOO, {"roi_heads__box_predictor__cls_score__weight": (1204, 8)}),  # LVIS
        (ZOO, {"stem__conv1__weight": (64, 3, 7, 7)}),  # a backbone
        ("someone", {"roi_heads__box_predictor__cls_score__weight": (81, 8)}),
    ],
)
def test_other_weights_are_not_given_classes(tmp_path, author, predictors):
    assert identify(zoo_file(tmp_path / "other.pkl", author, **predictors)).classes == ()


def test_an_extracted_detector_keeps_the_classes(tmp_path):
    model = {"detector.head.weight": torch.zeros(2)}
    torch.save({"model": model, "classes": ["cat", "dog"]}, tmp_path / "run.pth")
    extract_detector(tmp_path / "run.pth", tmp_path / "bare.pth")
    assert identify(tmp_path / "bare.pth").classes == ("cat", "dog")


def test_the_text_of_a_recipe_is_its_config_yaml(tmp_path):
    cfg = load_recipe(PLAIN, ["data.train_json=a.json", "data.val_json=b.json"])
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    assert recipe_text(cfg) == (tmp_path / "config.yaml").read_text(encoding="utf-8")
