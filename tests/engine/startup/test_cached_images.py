"""What a teacher's cache will meet: the same images in every epoch, or ever new ones."""

import lowres_d2  # noqa: F401
from lowres_d2.data import DetectionMapper, build_train_loader
from lowres_d2.data.classification import ClassificationMapper, build_array_train_loader
from lowres_d2.engine.startup.cached_images import image_versions, random_images_warning
from lowres_d2.modeling.teacher import TeacherCache

import numpy as np
import pytest
from detectron2.config import LazyCall as L
from detectron2.data import transforms as T
from omegaconf import OmegaConf
from PIL import Image


def recipe(loader):
    return OmegaConf.create({"dataloader": {"train": loader}}, flags={"allow_objects": True})


def mapped(mapper, dataset=()):
    return recipe(L(build_train_loader)(dataset=dataset, mapper=mapper))


@pytest.fixture
def dataset(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    records = []
    for k, pixels in enumerate(noise):
        name = str(tmp_path / f"{k}.png")
        Image.fromarray(pixels).save(name)
        records.append({"file_name": name, "height": 40, "width": 60, "annotations": []})
    return records


@pytest.mark.parametrize(
    ("arguments", "versions"),
    [
        ({}, 162),
        ({"flip": False}, 81),
        ({"crop_padding": 0}, 2),
        ({"crop_padding": 0, "flip": False}, 1),
        ({"crop_padding": 1, "flip": True}, 18),
    ],
)
def test_crops_and_flips_of_images_in_memory_are_counted(arguments, versions):
    cfg = recipe(L(build_array_train_loader)(total_batch_size=2, seed=0, **arguments))
    assert image_versions(cfg) == versions


SHORT = {"short_edge_length": (30,), "max_size": 99, "sample_style": "choice"}


@pytest.mark.parametrize(
    ("augmentations", "versions"),
    [
        ([], 1),
        ([L(T.ResizeShortestEdge)(**SHORT)], 1),
        ([L(T.ResizeShortestEdge)(**SHORT), L(T.RandomFlip)()], 2),
        ([L(T.RandomFlip)(prob=1.0)], 1),
        ([L(T.RandomCrop)(crop_type="absolute", crop_size=(20, 20))], None),
        ([L(T.RandomBrightness)(intensity_min=0.5, intensity_max=1.5)], None),
    ],
)
def test_random_augmentations_of_a_mapper_are_tried(dataset, augmentations, versions):
    mapper = L(DetectionMapper)(is_train=True, augmentations=augmentations)
    assert image_versions(mapped(mapper, dataset)) == versions


def test_the_random_crops_of_photographs_are_ever_new(dataset):
    mapper = L(ClassificationMapper)(is_train=True, size=16)
    assert image_versions(mapped(mapper, dataset)) is None


def test_a_broken_image_is_skipped(dataset):
    with open(dataset[0]["file_name"], "wb") as file:
        file.write(b"broken")
    mapper = L(DetectionMapper)(is_train=True, augmentations=[L(T.RandomFlip)()], on_broken="skip")
    assert image_versions(mapped(mapper, dataset)) == 2


def test_random_augmentation_is_warned_of(tmp_path):
    cache = TeacherCache(tmp_path, limit_gb=3)
    arrays = recipe(L(build_array_train_loader)(total_batch_size=2, seed=0))
    for cache.versions in (1, 2):
        assert random_images_warning(arrays, cache) == ""
    cache.versions = 162
    warning = random_images_warning(arrays, cache)
    assert "makes 162 versions" in warning and "limit_gb=3; set dataloader.train.crop" in warning
    cache.versions = None
    warning = random_images_warning(mapped(L(DetectionMapper)(is_train=True)), cache)
    assert "makes ever new versions" in warning and "; give the mapper no random" in warning
