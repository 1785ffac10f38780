import os

from lowres_d2.data.classification import ImageNet32

import numpy as np
import pytest

from toys.batch_files import BatchFolder


@pytest.fixture
def batches(tmp_path):
    """ImageNet at 32x32 with 3 images a batch, as the authors' scripts pickled them."""
    made = BatchFolder(tmp_path / "imagenet32")
    made.root, made.batches = tmp_path, {}
    for k, name in enumerate([*(f"train_data_batch_{k}" for k in range(1, 11)), "val_data"]):
        labels = [1 + k, 1000 - k, 500]
        made.batches[name] = {"data": made.pixels(3), "labels": labels}
        if name != "val_data":
            made.batches[name]["mean"] = np.full(3072, 0.5)
        made.write_python3(name, made.batches[name])
    return made


def one_line(call, kind=ValueError):
    with pytest.raises(kind) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said and len(said) < 500
    return said


def test_images_and_labels_are_those_of_the_files(batches):
    train, val = ImageNet32(batches.root), ImageNet32(batches.folder, "val")
    assert (len(train), len(val)) == (30, 3)
    for index, item in enumerate(train):
        batch = batches.batches[f"train_data_batch_{index // 3 + 1}"]
        pixels = batch["data"][index % 3].reshape(3, 32, 32)
        assert np.array_equal(item["image"].numpy(), pixels)
        assert item["label"] == batch["labels"][index % 3] - 1
    assert val.labels == [10, 989, 499]
    assert train.classes == [str(k) for k in range(1, 1001)] == val.classes


def test_the_folder_itself_is_known_by_any_of_its_files(batches):
    folder = batches.folder.rename(batches.root / "mine")
    (folder / "val_data").unlink()
    said = one_line(lambda: ImageNet32(folder, "val"), FileNotFoundError)
    assert said.startswith(f"{folder}: has no val_data; expected the files of Imagenet32_val.zip")


def names(repeated=()):
    """Lines of the authors' map_clsloc.txt, in another order than the labels."""
    lines = [f"n{k:08d} {k} {'crane' if k in repeated else f'name_{k}'}" for k in range(1, 1001)]
    return lines[500:] + lines[:500]


def test_classes_are_named_by_the_file_beside_them(batches):
    (batches.folder / "map_clsloc.txt").write_text("\n".join(names((135, 518))) + "\n")
    classes = ImageNet32(batches.root, "val").classes
    assert len(set(classes)) == 1000 and classes[0] == "name_1" and classes[999] == "name_1000"
    assert classes[134] == "crane_n00000135" and classes[517] == "crane_n00000518"


@pytest.mark.parametrize(
    "lines", [names()[:-1], [*names()[:-1], "n0 1 a"], [*names(), "x"], ["<html>"], [""]]
)
def test_wrong_names_are_one_line(batches, lines):
    path = batches.folder / "map_clsloc.txt"
    path.write_text("\n".join(lines))
    said = one_line(lambda: ImageNet32(batches.root, "val"))
    assert said.startswith(f"{path}: expected a line for each of 1000 classes, such as n02119789 1")


def test_missing_files_say_what_to_download(batches):
    (batches.folder / "train_data_batch_7").unlink()
    said = one_line(lambda: ImageNet32(batches.root), FileNotFoundError)
    assert said.startswith(f"{batches.folder}: has no train_data_batch_7; expected the files of")
    assert "Imagenet32_train.zip" in said and len(ImageNet32(batches.root, "val")) == 3
    said = one_line(lambda: ImageNet32(batches.root / "x", "val"), FileNotFoundError)
    assert said.startswith(
        f"{batches.root / 'x' / 'imagenet32'}: no such folder; expected one with"
    )
    assert "Imagenet32_val.zip" in said


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(batches, tmp_path):
    target = tmp_path / "harm"
    batches.write_python3("val_data", {"data": Harm(str(target)), "labels": [1]})
    said = one_line(lambda: ImageNet32(batches.root, "val"))
    assert said.startswith(f"{batches.folder / 'val_data'}: cannot be read as a batch of ImageNet")
    assert "its pickle refers to posix.mkdir, which could run code" in said
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": [0, 1, 2]}, "label 0 of image 0: expected a whole number from 1 to 1000"),
        ({"labels": [1, 2, 1001]}, "label 1001 of image 2: expected a whole number from 1 to 1000"),
        ({"labels": [1, 2]}, "has 3 images, but 2 labels; download it again"),
        (
            {"data": np.zeros((3, 3 * 64**2), np.uint8)},
            "(3, 12288), expected uint8 of shape (N, 3072)",
        ),
        ({"data": np.zeros((3, 32, 32, 3), np.uint8)}, "expected uint8 of shape (N, 3072)"),
        ({"fine_labels": [1, 2, 3], "labels": None}, "but no list of labels"),
    ],
)
def test_other_content_is_one_line(batches, change, said):
    batches.write_python3("val_data", batches.batches["val_data"] | change)
    found = one_line(lambda: ImageNet32(batches.root, "val"))
    assert found.startswith(f"{batches.folder / 'val_data'}: ") and said in found


@pytest.mark.parametrize("keep", [0, 10, 4000, -2])
def test_a_truncated_file_is_named(batches, keep):
    path = batches.folder / "train_data_batch_10"
    path.write_bytes(path.read_bytes()[:keep])
    said = one_line(lambda: ImageNet32(batches.root))
    assert said.startswith(f"{path}: cannot be read as a batch of ImageNet at 32x32 (")
