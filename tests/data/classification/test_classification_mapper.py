from itertools import islice

from lowres_d2.data import build_test_loader, build_train_loader
from lowres_d2.data.aug_input import ImageInput
from lowres_d2.data.classification import (
    ClassFolderFiles,
    ClassificationMapper,
    RandomResizedCrop,
    ResizedCenterCrop,
)
from lowres_d2.data.loader import repeat_factors
from lowres_d2.data.mapper import BrokenImageError

import numpy as np
import pytest
import torch
from PIL import Image


def gradient(height, width):
    """Red is the column, green the row: pixels tell where they came from."""
    image = np.full((height, width, 3), 50, np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


@pytest.fixture
def files(tmp_path):
    for k, name in enumerate(["cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(gradient(60 + 10 * k, 90)).save(tmp_path / name)
    return ClassFolderFiles(tmp_path)


def test_in_evaluation_the_middle_is_taken(files):
    sample = ClassificationMapper(False, 30, 60)(files[0])
    middle = gradient(60, 90)[15:45, 30:60]
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), middle)
    assert {k: v for k, v in sample.items() if k != "image"} == {
        "label": 0,
        "image_id": 1,
        "file_name": files[0]["file_name"],
        "height": 60,
        "width": 90,
    }


def test_without_resize_the_middle_is_seven_eighths(files):
    red, green, _ = ClassificationMapper(False, 28)(files[3])["image"].float()  # 90x90 becomes 32
    assert red.shape == (28, 28)
    assert red[0, 0] == pytest.approx(90 / 32 * 2.5, abs=1.5) == green[0, 0]
    assert red[-1, -1] == pytest.approx(90 / 32 * 29.5, abs=1.5)


def crops(number, size=16, shape=(60, 90), **settings):
    """Left, right, top and bottom of random parts, from the pixels that they have."""
    augment = RandomResizedCrop(size, **settings)
    found = []
    for seed in range(number):
        np.random.seed(seed)  # noqa: NPY002 (what augmentations draw from)
        image = ImageInput(gradient(*shape))
        augment(image)
        assert image.image.shape == (size, size, 3)
        red, green = (image.image[..., k].astype(float) for k in range(2))
        found.append((red.min(), red.max() + 1, green.min(), green.max() + 1))
    return np.array(found)


def test_random_parts_have_the_areas_and_ratios_that_were_asked_for():
    left, right, top, bottom = crops(200, scale=(0.1, 0.3), ratio=(0.5, 2)).T
    share = (right - left) * (bottom - top) / (60 * 90)
    ratio = (right - left) / (bottom - top)
    assert 0.07 < share.min() < 0.13 and 0.25 < share.max() < 0.32
    assert 0.4 < ratio.min() < 0.6 and 1.7 < ratio.max() < 2.2
    assert left.min() < 4 and right.max() > 86 and top.min() < 4 and bottom.max() > 56


@pytest.mark.parametrize("shape", [(60, 240), (240, 60)])
def test_of_an_elongated_image_the_middle_is_taken(shape):
    """Where no part has the area: the largest one of an allowed ratio."""
    left, right, top, bottom = crops(3, size=64, shape=shape, scale=(0.9, 1)).T
    along, across = ((left, right), (top, bottom)) if shape[1] > shape[0] else (
        (top, bottom), (left, right)
    )  # fmt: skip
    assert np.allclose(across[0], 0, atol=1) and np.allclose(across[1], 60, atol=1)
    assert np.allclose(along[0], 80, atol=2) and np.allclose(along[1], 160, atol=2)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2000), (300000, 1)])
def test_images_of_any_shape_get_the_size(shape):
    pixels = np.full((*shape, 3), 9, np.uint8)
    for augmentation in (ResizedCenterCrop(32), ResizedCenterCrop(32, 40), RandomResizedCrop(32)):
        image = ImageInput(pixels)
        augmentation(image)
        assert image.image.shape == (32, 32, 3) and (image.image == 9).all()


def test_half_of_the_training_images_are_mirrored_unless_flip_is_off(files):
    batches = {}
    for flip in (True, False):
        mapper = ClassificationMapper(True, 16, flip=flip)
        loader = build_train_loader(files, mapper, 40, seed=0, rank=0, world_size=1)
        batches[flip] = [item["image"][0].float() for item in next(iter(loader))]
        assert all(red.shape == (16, 16) for red in batches[flip])
    mirrored = {
        flip: sum((red[:, 0] > red[:, -1]).any().item() for red in reds)
        for flip, reds in batches.items()
    }
    assert mirrored[False] == 0 and 8 < mirrored[True] < 32


def test_batches_of_files_depend_on_seed_and_iteration_only(files):
    def batches(number, start=0, **settings):
        mapper = ClassificationMapper(True, 8)
        settings = {"rank": 0, "world_size": 1} | settings
        loader = build_train_loader(files, mapper, 4, 3, start_iteration=start, **settings)
        return [item for batch in islice(loader, number) for item in batch]

    def assert_same(some, others):
        for a, b in zip(some, others, strict=True):
            assert a["image_id"] == b["image_id"] and a["label"] == b["label"]
            assert torch.equal(a["image"], b["image"])

    whole = batches(4)
    assert sorted(item["image_id"] for item in whole[:4]) == [1, 2, 3, 4]
    assert {item["image_id"]: item["label"] for item in whole} == {1: 0, 2: 0, 3: 0, 4: 1}
    assert_same(batches(2, start=2), whole[8:])
    assert_same(batches(1, rank=1, world_size=2), whole[2:4])
    assert_same(batches(2, num_workers=1), whole[:8])


def test_every_test_file_is_loaded_once(files):
    mapper = ClassificationMapper(False, 8)
    loaders = [build_test_loader(files, mapper, 2, 0, rank, 3) for rank in range(3)]
    items = [item for loader in loaders for batch in loader for item in batch]
    assert [item["image_id"] for item in items] == [1, 2, 3, 4]
    assert all(item["image"].shape == (3, 8, 8) for item in items)


def test_rare_classes_are_repeated(files):
    # Shares of 3/4 and 1/4: sqrt(0.9 / share).
    expected = [np.sqrt(0.9 / 0.75)] * 3 + [np.sqrt(0.9 / 0.25)]
    assert np.allclose(repeat_factors(files, 0.9), expected)
    with pytest.raises(ValueError, match="has no annotations and no labels"):
        repeat_factors([{"file_name": "x"}], 0.9)


def test_a_broken_file_is_named_or_skipped(files):
    path = files[1]["file_name"]
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n")
    with pytest.raises(BrokenImageError, match="cannot be read as an image") as caught:
        ClassificationMapper(True, 8)(files[1])
    assert str(caught.value).startswith(path) and "\n" not in str(caught.value)
    loader = build_train_loader(
        files, ClassificationMapper(True, 8, on_broken="skip"), 4, 0, rank=0, world_size=1
    )
    (batch,) = islice(loader, 1)
    assert len(batch) == 4 and 2 not in {item["image_id"] for item in batch}
    assert loader.counts["num_skipped_images"] > 0


def test_images_that_exif_rotates_are_rotated(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "a").mkdir()
    Image.fromarray(gradient(20, 40)).save(tmp_path / "a/1.png", exif=turned)
    sample = ClassificationMapper(False, 20, 20)(ClassFolderFiles(tmp_path)[0])
    assert (sample["height"], sample["width"]) == (40, 20)
    rotated = np.rot90(gradient(20, 40), -1)[10:30]
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), rotated)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"is_train": True, "size": 0}, "size=0: expected a whole number of pixels, 1 or more"),
        ({"is_train": False, "size": 8, "resize": 7}, "resize=7: expected at least size, 8"),
        ({"is_train": True, "scale": (0.5, 1.5)}, r"scale=\[0.5, 1.5\]: .* over 0 at most 1"),
        ({"is_train": True, "scale": (0.5, 0.2)}, r"scale=\[0.5, 0.2\]: expected the smallest"),
        ({"is_train": True, "ratio": (0, 2)}, r"ratio=\[0, 2\]: expected the smallest and the"),
        ({"is_train": True, "on_broken": "x"}, "on_broken='x': expected"),
    ],
)
def test_wrong_settings_are_one_line(settings, said):
    with pytest.raises(ValueError, match=said):
        ClassificationMapper(**settings)
