"""``lowres_d2.load``: everything that it opens gives what the model gives, or one line."""

import pickle
import subprocess
import sys
from fractions import Fraction

import lowres_d2
from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import ZOO, Identity, identify, recipe_text
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.predictor.loading import class_names, load, mapper_of
from lowres_d2.recipes.load import load_recipe

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from toys.data import CLASSES, SIDE
from toys.trained import UNTRAINED as RECIPE


@pytest.fixture(scope="module")
def run(untrained_run):
    return untrained_run


def image(height=SIDE, width=96, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def rows(found):
    columns = (found.scores[:, None], found.pred_classes[:, None], found.pred_boxes.tensor)
    return torch.cat([x.float() for x in columns], dim=1)


def by_hand(model, pixels):
    with torch.no_grad():
        tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        return rows(model([{"image": tensor}])[0]["instances"])


def test_a_run_by_any_name_finds_what_its_model_finds(run):
    folder, model = run
    expected = by_hand(model, image())
    assert len(expected)
    weights = folder / "model_final.pth"
    for arguments in (
        {"source": folder},
        {"source": str(folder / "config.yaml")},
        {"source": folder, "weights": weights, "device": "cpu"},
    ):
        detector = lowres_d2.load(**arguments)
        assert torch.equal(rows(detector(image(), score=0)), expected)
        assert detector.class_names == CLASSES


def test_a_batch_gives_what_each_image_gives_alone(run):
    detector = load(run[0])
    images = [image(), image(seed=1), image(80, SIDE, 2), image(60, 50, 3), image(seed=4)]
    for found, alone in zip(detector(images, 0), images, strict=True):
        torch.testing.assert_close(rows(found), rows(detector(alone, 0)), rtol=0, atol=1e-4)
        assert found.image_size == alone.shape[:2]


def test_overrides_put_it_in_tiles(run):
    folder, model = run
    detector = load(folder, overrides=["+tiles.size=64", "+tiles.overlap=16"])
    tiled = TiledDetector(model, 64, 16).eval()
    expected = by_hand(tiled, image())
    assert torch.equal(rows(detector(image(), score=0)), expected)
    assert len(expected) != len(by_hand(model, image()))
    assert detector.info.factor == 4 and detector.info.resampler == "Bicubic"


def test_info_says_what_it_is(run):
    folder, model = run
    info = load(folder).info
    assert (info.recipe, info.weights) == (str(folder / "model_final.pth"),) * 2
    assert (info.factor, info.resampler, info.classes) == (Fraction(4), "Bicubic", (*CLASSES,))
    assert info.parameters == sum(p.numel() for p in model.parameters())
    assert info.macs_size == (480, 640)


def test_info_on_an_image_counts_its_macs(run):
    folder, model = run
    detector = load(folder)
    inputs = detector.prepare(image())
    macs = measure_complexity(model, [inputs]).total_macs
    assert detector.info_on(inputs).macs == detector.info_on(inputs).ops == macs
    assert detector.info_on(inputs).macs_size == (SIDE, 96)


def test_a_classifier_sees_images_at_the_size_of_its_data(tmp_path):
    cfg = load_recipe("tests/toys/recipes/classifier.py", ["train.device=cpu"])
    model = build_model(cfg).eval()
    names = [f"class {k}" for k in range(10)]
    state = {"model": model.state_dict(), "classes": names, "recipe": recipe_text(cfg)}
    torch.save(state, tmp_path / "model.pth")
    classifier = load(tmp_path / "model.pth")
    pixels = image(40, 70)
    whole = np.asarray(Image.fromarray(pixels).resize((56, 32), Image.BILINEAR))
    middle = torch.from_numpy(whole[:, 12:44].transpose(2, 0, 1).copy())
    expected = model([{"image": middle}])[0]["scores"]
    found = classifier([pixels, image(32, 32)])
    torch.testing.assert_close(found[0].scores, expected, rtol=0, atol=1e-4)
    assert found[0].label == expected.argmax() and classifier.class_names == names
    # What its images are made into, of which the MACs are; DownUp's images keep their size.
    info = classifier.info
    assert (info.macs_size, info.factor, info.resampler) == ((32, 32), 4, "DownUp")
    macs = measure_complexity(model, [classifier.prepare(image(32, 32))]).total_macs
    assert info.macs == macs
    sized = load_recipe("configs/own_data/full_resnet18_32_own.py", ["data.size=24"])
    assert mapper_of(sized).sample_of_pixels(pixels, "it")["image"].shape == (3, 24, 24)


def refused(*arguments, **more):
    with pytest.raises((ValueError, OSError, KeyError)) as caught:
        load(*arguments, **more)
    said = str(caught.value.args[0])
    assert "\n" not in said
    return said


def test_what_makes_images_is_refused(tmp_path):
    name = "projects/DFD/configs/quick/super_resolution2_espcn_small_8_plates.py"
    cfg = load_recipe(name, ["train.device=cpu"])
    state = {"model": build_model(cfg).state_dict(), "recipe": recipe_text(cfg)}
    torch.save(state, tmp_path / "sr.pth")
    said = refused(tmp_path / "sr.pth")
    assert said == (
        f"{tmp_path}/sr.pth: is of a network that makes images, and finds nothing on them: "
        "expected a detector or a classifier"
    )


def test_mistakes_are_named_in_one_line(run, tmp_path):
    folder, _ = run
    weights = folder / "model_final.pth"
    kinds = "expected a recipe (.py .yaml .yml), the folder of a run, a file of weights"
    said = refused("full_fcos_smal_256_plates")
    assert said.startswith(f"full_fcos_smal_256_plates: is not there; {kinds}")
    near = "nearest recipe: configs/quick/full_fcos_small_256_plates.py"
    assert said.endswith(near)
    assert refused("configs/quick/full_fcos_smal_256_plates.py").endswith(near)
    said = refused(RECIPE)
    assert said.endswith("is a recipe, and has no weights: give both, load(RECIPE, weights=FILE)")
    assert refused(tmp_path / "none.pth").startswith(f"no weights at {tmp_path}/none.pth")
    assert "is a folder without weights" in refused(tmp_path)
    said = refused(tmp_path, weights)
    assert said == f"{tmp_path}: has no config.yaml: it is not the folder of a run"
    assert refused(weights, weights).endswith("expected a recipe or a run")
    Image.fromarray(image()).save(tmp_path / "image.png")
    assert refused(tmp_path / "image.png").startswith(f"{tmp_path}/image.png: {kinds}")
    (tmp_path / "text.pth").write_text("nothing")
    assert "refused, not a valid file of weights" in refused(tmp_path / "text.pth")
    torch.save({"model": torch.load(weights)["model"]}, tmp_path / "bare.pth")
    said = refused(tmp_path / "bare.pth")
    assert "does not say which recipe" in said and said.endswith("load(RECIPE, weights=FILE)")
    assert "train.device=gpu is not available" in refused(folder, device="gpu")
    assert "model.resampler.facto" in refused(folder, overrides=["model.resampler.facto=2"])
    assert "check that recipe and weights match" in refused(
        "configs/coco/full_fcos_r18_800_coco_1x.py", weights, device="cpu"
    )


def test_weights_of_the_zoo_have_the_names_of_coco(tmp_path):
    zoo = {"model": {"head.cls_score.weight": np.zeros(720)}, "__author__": ZOO}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(zoo))
    model = torch.nn.Module()
    model.num_classes = 80
    names = class_names(None, model, identify(tmp_path / "zoo.pkl"))
    assert len(names) == 80 and (names[0], names[70]) == ("person", "toaster")
    model.num_classes = 3
    with pytest.raises(ValueError, match="num_classes is 3"):
        class_names(None, model, identify(tmp_path / "zoo.pkl"))


def test_a_recipe_that_names_its_classes_needs_no_data_for_them():
    cfg = OmegaConf.create({"dataloader": {"test": {"dataset": {"classes": ["nut", "bolt"]}}}})
    assert class_names(cfg, torch.nn.Module(), Identity("bare.pth")) == ["nut", "bolt"]


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'torch', 'numpy', 'detectron2', 'safetensors'}"
    code = f"import sys, lowres_d2; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    with pytest.raises(AttributeError, match="no attribute 'loads'"):
        lowres_d2.loads  # noqa: B018
