"""``+tiles.size=640`` puts a recipe's model in tiles, and what is wrong with it is said."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.recipes.load import build, load_recipe

import pytest
from detectron2.config import LazyConfig

QUICK = "configs/quick/full_fcos_small_256_plates.py"


def test_added_values_are_arguments_of_the_tiles():
    overrides = ["+tiles.size=[512,640]", "+tiles.overlap=30", "+tiles.whole_image=true"]
    cfg = load_recipe(QUICK, ["model.detector.num_classes=3", *overrides])
    assert "tiles" not in cfg and cfg.model.detector.detector.num_classes == 3
    model = build(cfg, "model")
    assert isinstance(model, TiledDetector) and isinstance(model.detector, LowResDetector)
    assert (model.grid.size, model.grid.overlap, model.whole_image) == ((512, 640), (30, 30), True)


def test_without_values_tiles_have_their_own():
    assert build(load_recipe(QUICK, ["+tiles={}"]), "model").grid.size == (640, 640)
    assert build(load_recipe(QUICK, ["+tiles={size: 96, overlap: 32}"]), "model").grid.overlap == (
        32,
        32,
    )


def test_a_saved_recipe_keeps_its_tiles(tmp_path):
    LazyConfig.save(
        load_recipe(QUICK, ["+tiles.size=96", "+tiles.overlap=24"]), str(tmp_path / "config.yaml")
    )
    path = tmp_path / "config.yaml"
    assert build(load_recipe(path, ["model.overlap=32"]), "model").grid.overlap == (32, 32)
    with pytest.raises(ValueError, match=r"model is in tiles already; change model.size"):
        load_recipe(path, ["+tiles.size=64"])


TINYPERSON = "projects/BottomHeavy/configs/tinyperson/bh_fcos_r50_640_tinyperson.py"


def test_a_recipe_may_have_tiles_of_its_own():
    model = load_recipe(TINYPERSON, ["tiles.overlap=30", "model.detector.num_classes=3"]).model
    assert (model.size, model.overlap) == ([512, 640], 30)
    assert model.detector.detector.num_classes == 3
    assert load_recipe(TINYPERSON).model.overlap == 100
    with pytest.raises(KeyError, match=r"tiles.size: the recipe has this key already"):
        load_recipe(TINYPERSON, ["+tiles.size=64"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+tiles.sise=640", "model.sise: TiledDetector takes no 'sise', nearest: 'size'"),
        ("+tiles=640", r"\+tiles=640: expected arguments, such as \+tiles.size=640"),
        ("tiles.size=640", "tiles.size: the recipe has no such key"),
        ("+tile.size=640", r"\+tile.size: nothing in this recipe reads it"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises((KeyError, ValueError), match=message):
        load_recipe(QUICK, [override])


WINDOWS = "dataloader.test.mapper.windows=true"


def test_windows_need_tiles(tmp_path):
    says = r"dataloader.test.mapper.windows=true: is for a model in tiles.*: add \+tiles.size=640"
    with pytest.raises(ValueError, match=says):
        load_recipe(QUICK, [WINDOWS])
    cfg = load_recipe(QUICK, [WINDOWS, "+tiles.size=96"])
    assert cfg.dataloader.test.mapper.windows
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    assert load_recipe(tmp_path / "config.yaml").model.size == 96
    with pytest.raises(ValueError, match=r"train.mapper.windows=true: training reads whole images"):
        load_recipe(QUICK, ["+dataloader.train.mapper.windows=true", "+tiles.size=96"])


def test_a_recipe_that_puts_another_in_tiles_may_have_set_windows(tmp_path):
    (tmp_path / "tiled.py").write_text(
        "from detectron2.config import LazyCall as L\n"
        "from lowres_d2.modeling.tiles import TiledDetector\n"
        "from lowres_d2.recipes.load import load_recipe\n"
        f"cfg = load_recipe({QUICK!r}, [{WINDOWS!r}])\n"
        "model = L(TiledDetector)(detector=cfg.model, size=96)\n"
        "dataloader, optimizer, train = cfg.dataloader, cfg.optimizer, cfg.train\n"
        "lr_multiplier = cfg.lr_multiplier\n"
    )
    assert load_recipe(tmp_path / "tiled.py").dataloader.test.mapper.windows


def test_tiles_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="size 64, overlap 100: expected an overlap"):
        build(load_recipe(QUICK, ["+tiles={size: 64, overlap: 100}"]), "model")
