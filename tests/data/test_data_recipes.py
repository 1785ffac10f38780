"""The parts of recipes in ``configs/common/data`` load, dump, and build."""

import inspect
import re
from pathlib import Path

from lowres_d2.data.datasets import check_same_classes
from lowres_d2.engine.hooks.repeatable import seed_everything
from lowres_d2.recipes.load import load_recipe

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from omegaconf import OmegaConf
from PIL import Image

FOLDER = Path(__file__).parents[2] / "configs/common/data"


def load(name, output_dir="unused"):
    cfg = LazyConfig.load(str(FOLDER / f"{name}.py"))
    cfg.train = {"seed": 0, "output_dir": str(output_dir)}
    return cfg


# All but the shared one, which lacks the data sets that the others fill in.
PIECES = sorted({path.stem for path in FOLDER.glob("*.py")} - {"loaders"})


def fill_missing(cfg):
    """With the user's values: upstream dumps no missing ones."""
    for key in cfg:
        if OmegaConf.is_missing(cfg, key):
            cfg[key] = "mine"
        elif not OmegaConf.is_interpolation(cfg, key) and OmegaConf.is_dict(cfg[key]):
            fill_missing(cfg[key])


@pytest.mark.parametrize("name", PIECES)
def test_piece_survives_a_dump(name, tmp_path):
    cfg = load(name)
    for other in {*cfg} - {"data", "dataloader", "train"}:
        del cfg[other]  # short names of parts, which stand in no recipe
    fill_missing(cfg)
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    LazyConfig.save(cfg, str(first))
    LazyConfig.save(LazyConfig.load(str(first)), str(second))
    assert first.read_text() == second.read_text()
    assert set(cfg.dataloader) == {"train", "test", "evaluator"}
    if "mapper" not in cfg.dataloader.train:
        return  # images in memory
    modes = [cfg.dataloader[part].mapper.is_train for part in ("train", "test")]
    assert modes == [True, False]
    formats = [cfg.dataloader[part].mapper.image_format for part in ("train", "test")]
    assert formats[0] == formats[1]


@pytest.mark.parametrize("name", ["plates", "plates_tiny"])
def test_plates_build(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    cfg = load(name, tmp_path / "out")
    OmegaConf.update(cfg, "dataloader.train.dataset.num_images", 8)
    OmegaConf.update(cfg, "dataloader.test.dataset.num_images", 4)
    train = instantiate(cfg.dataloader.train)
    batch = next(iter(train))
    assert len(batch) == 16 and batch[0]["image"].shape == (3, 256, 256)
    samples = [sample for batch in instantiate(cfg.dataloader.test) for sample in batch]
    assert len(samples) == 4 and "instances" not in samples[0]
    check_same_classes(
        instantiate(cfg.dataloader.train.dataset), instantiate(cfg.dataloader.test.dataset)
    )
    assert instantiate(cfg.dataloader.evaluator) is not None


def test_plates_to_classify_are_neither_flipped_nor_cropped(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    cfg = load("plates_classification", tmp_path / "out")
    cfg.dataloader.train.dataset.num_images, cfg.dataloader.test.dataset.num_images = 6, 5
    cfg.dataloader.train.dataset.size_range = [4, 16]
    train, test = instantiate(cfg.dataloader.train), instantiate(cfg.dataloader.test)
    for item in next(iter(train)):
        assert torch.equal(item["image"], train.dataset[item["image_id"] - 1]["image"])
    assert [item["image_id"] for batch in test for item in batch] == [1, 2, 3, 4, 5]
    folders = {path.name for path in (tmp_path / "plates").iterdir() if path.is_dir()}
    assert folders == {f"classification_{part}_seed0_4-16px" for part in ("train_6", "val_5")}
    check_same_classes(train.dataset, test.dataset)
    assert instantiate(cfg.dataloader.evaluator) is not None


IN_MEMORY = ["cifar10", "cifar100", "class_folders", "imagenet32", "plates_classification", "svhn"]


@pytest.mark.parametrize("name", IN_MEMORY)
def test_training_and_test_images_are_two_splits_with_the_same_settings(name):
    cfg = load(name)
    train, test = (cfg.dataloader[part].dataset for part in ("train", "test"))
    where = "evaluated" if name == "class_folders" else "split"
    assert train.get(where) != test[where]
    own = {where, "num_images", "may_lack_classes", "_target_"}
    assert {k: v for k, v in train.items() if k not in own} == {
        k: v for k, v in test.items() if k not in own
    }
    for node in (train, test):
        inspect.signature(node._target_).bind(**{k: v for k, v in node.items() if k != "_target_"})
    assert cfg.dataloader.train.flip == (name != "plates_classification")


@pytest.fixture
def folders(tmp_path):
    """Folders of class folders, as arguments of the command line: a, b, c; and a, c for val."""
    for split, names in {"train": "abc", "val": "ac"}.items():
        for k, name in enumerate(names):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (20, 12), (k, 0, 0)).save(tmp_path / split / name / "1.png")
    return [f"data.{split}_folder={tmp_path / split}" for split in ("train", "val")]


def test_own_images_to_classify_build_from_two_folders(folders, tmp_path):
    recipe = str(FOLDER.parents[1] / "own_data/full_resnet18_32_own.py")
    cfg = load_recipe(recipe, [*folders, "data.size=10"])
    assert instantiate(cfg.model.detector.num_classes) == 3
    train, test = (instantiate(cfg.dataloader[part]).dataset for part in ("train", "test"))
    assert (train.labels, test.labels) == ([0, 1, 2], [0, 1])
    assert train.images.shape == (3, 3, 10, 10) and test.images.shape == (2, 3, 10, 10)
    by_path = load_recipe(recipe, [f"data.path={tmp_path}", "data.size=10"])
    assert instantiate(by_path.model.detector.num_classes) == 3
    assert instantiate(by_path.dataloader.test.dataset).source == str(tmp_path / "val")
    cfg = load_recipe(recipe, [*folders, "data.classes=[c,b]"])
    assert instantiate(cfg.model.detector.num_classes) == 2
    test = instantiate(cfg.dataloader.test.dataset)
    assert test.classes == ["c", "b"] and test.labels == [0]


def test_photographs_to_classify_are_read_from_their_files(folders, tmp_path):
    cfg = load("class_folder_files", tmp_path / "out")
    for override in folders:
        OmegaConf.update(cfg, *override.split("="))
    cfg.data.size, cfg.dataloader.train.total_batch_size = 16, 6
    cfg.dataloader.train.num_workers = 0
    train = next(iter(instantiate(cfg.dataloader.train)))
    assert sorted(item["label"] for item in train) == [0, 0, 1, 1, 2, 2]
    cfg.data.classes = ["a", "b", "c"]
    (test,) = instantiate(cfg.dataloader.test)
    assert [item["label"] for item in test] == [0, 2]
    assert {tuple(item["image"].shape) for item in (*train, *test)} == {(3, 16, 16)}
    assert test[1]["image"][:, 0, 0].tolist() == [1, 0, 0]
    assert instantiate(cfg.dataloader.evaluator) is not None


def test_half_of_the_images_for_detr_are_regions(tmp_path):
    cfg = load("coco_detr")
    cfg.dataloader.train.mapper.is_train = False
    mapper = instantiate(cfg.dataloader.train.mapper)
    path = tmp_path / "grey.png"
    Image.new("RGB", (640, 480), (128, 128, 128)).save(path)
    seed_everything(0, 0)
    sizes = [mapper({"file_name": str(path)})["image"].shape[1:] for _ in range(60)]
    assert {min(size) for size in sizes} <= set(range(480, 801, 32))
    assert max(map(max, sizes)) <= 1333
    whole = sum(abs(width / height - 4 / 3) < 0.01 for height, width in sizes)
    assert 15 <= whole <= 45


def test_own_data_builds_from_two_paths(coco, tmp_path):
    cfg = load("coco_format", tmp_path / "out")
    cfg.data.train_json = cfg.data.val_json = str(coco.json_file)
    batch = next(iter(instantiate(cfg.dataloader.train)))
    assert batch[0]["image"].shape == (3, 480, 720)
    cfg.data.classes = ["mouse"]
    assert instantiate(cfg.dataloader.test.dataset).classes == ["mouse"]
    cfg.data.val_json = "nowhere.json"
    with pytest.raises(FileNotFoundError, match=r"nowhere.json"):
        instantiate(cfg.dataloader.test.dataset)


@pytest.mark.parametrize(("choice", "expected"), [("null", 2), ("[mouse]", 1), ("[mouse,cat]", 2)])
@pytest.mark.parametrize("recipe", ["full_fcos_small_own", "full_fcos_r50_own"])
def test_own_data_counts_the_chosen_classes(coco, recipe, choice, expected):
    json_file = coco.json_file
    overrides = [f"data.{split}_json={json_file}" for split in ("train", "val")]
    name = f"configs/own_data/{recipe}.py"
    cfg = load_recipe(name, [*overrides, f"data.classes={choice}"])
    assert instantiate(cfg.model.detector.num_classes) == expected
    assert len(instantiate(cfg.dataloader.train.dataset).classes) == expected


def test_own_data_refuses_classes_that_are_no_list(coco):
    cfg = load_recipe(
        "configs/own_data/full_fcos_small_own.py",
        [f"data.train_json={coco.json_file}", "data.classes=mouse"],
    )
    for part in (cfg.model.detector.num_classes, cfg.dataloader.train.dataset):
        with pytest.raises(ValueError, match=r"classes='mouse': expected a list .*\[mouse\]"):
            instantiate(part)


def test_every_key_is_explained_where_it_first_stands():
    """A comment stands above each key of the shared piece, but for those of the test loader."""
    lines = (FOLDER / "loaders.py").read_text().splitlines()
    keys = [k for k, line in enumerate(lines) if re.match(r" +\w+=", line)]
    seen, bare = set(), []
    for k in keys:
        key = lines[k].split("=")[0].strip()
        if key not in seen and not lines[k - 1].strip().startswith("#"):
            bare.append(key)
        seen.add(key)
    assert not bare and len(keys) > 20
