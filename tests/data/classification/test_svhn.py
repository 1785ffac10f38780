from lowres_d2.data.classification import SVHN

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.sparse import csc_array

CELLS = np.empty(12, object)
CELLS[:] = [np.zeros((3, 3)) for _ in CELLS]


def content(number=12):
    """As the original file has it: (height, width, channel, image), and 10 for the digit 0."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (32, 32, 3, number), dtype=np.uint8)
    labels = np.arange(1, number + 1) % 10
    return {"X": pixels, "y": np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]}


def write(folder, split="train", compressed=True, **change):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}_32x32.mat"
    made = {key: value for key, value in (content() | change).items() if value is not None}
    savemat(path, made, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_images_and_digits_are_those_of_the_file(tmp_path, compressed):
    path = write(tmp_path / "svhn", compressed=compressed)
    dataset, made = SVHN(tmp_path), content()
    assert dataset.classes == list("0123456789") and dataset.source == str(path)
    assert dataset.labels == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    for k, item in enumerate(dataset):
        assert np.array_equal(item["image"].permute(1, 2, 0).numpy(), made["X"][..., k])
        assert (item["height"], item["width"], item["image_id"]) == (32, 32, k + 1)
    assert dataset.images.is_contiguous()


def test_the_folder_itself_and_other_splits_are_found(tmp_path):
    for split in ("test", "extra"):
        write(tmp_path / "svhn", split)
    assert len(SVHN(tmp_path / "svhn", "test")) == len(SVHN(tmp_path, "extra")) == 12
    assert torch.equal(SVHN(tmp_path, "test").images, SVHN(tmp_path, "extra").images)


def one_line(call, kind=ValueError):
    with pytest.raises(kind) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said and len(said) < 500
    return said


def test_what_is_missing_says_where_to_get_it(tmp_path):
    said = one_line(lambda: SVHN(tmp_path), FileNotFoundError)
    assert said.startswith(
        f"{tmp_path / 'svhn'}: no such folder; expected one with train_32x32.mat"
    )
    assert "ufldl.stanford.edu/housenumbers" in said
    assert said.endswith("dataloader.train.dataset.root=FOLDER names another place")
    write(tmp_path / "svhn", "test")
    said = one_line(lambda: SVHN(tmp_path), FileNotFoundError)
    assert said.startswith(f"{tmp_path / 'svhn'}: has no train_32x32.mat; expected")
    said = one_line(lambda: SVHN(tmp_path / "svhn"), FileNotFoundError)
    assert said.startswith(f"{tmp_path / 'svhn'}: has no train_32x32.mat; expected")
    (tmp_path / "svhn").rename(tmp_path / "digits")
    said = one_line(lambda: SVHN(tmp_path / "digits"), FileNotFoundError)
    assert said.startswith(f"{tmp_path / 'digits'}: has no train_32x32.mat; expected")
    assert one_line(lambda: SVHN(tmp_path, "tain")) == (
        "split='tain': expected train or test or extra; did you mean train?"
    )


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("keep", [0, 1, 64, 127, 140, 5000, 0.5, -9])
def test_a_truncated_file_is_named(tmp_path, compressed, keep):
    path = write(tmp_path / "svhn", compressed=compressed)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    said = one_line(lambda: SVHN(tmp_path))
    assert said.startswith(f"{path}: ") and ("download it again" in said or "get it from" in said)


def test_a_file_of_zeros_after_its_start_is_named(tmp_path):
    path = write(tmp_path / "svhn")
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes(len(whole) - 2000))
    assert one_line(lambda: SVHN(tmp_path)).startswith(f"{path}: ")


def test_a_web_page_in_its_place_is_named(tmp_path):
    path = write(tmp_path / "svhn")
    path.write_text("<!doctype html>\n<html>not found</html>\n" * 20)
    assert one_line(lambda: SVHN(tmp_path)).startswith(f"{path}: cannot be read as a MATLAB file (")


def test_a_file_of_matlab_7_3_is_named(tmp_path):
    path = write(tmp_path / "svhn")
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    path.write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(512))
    said = one_line(lambda: SVHN(tmp_path))
    assert said.startswith(f"{path}: is a MATLAB 7.3 file (HDF5), expected the original one")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y": np.array([1, 2, 11] + [1] * 9, np.uint8)}, "label 11 of image 2: expected"),
        (
            {"y": np.array([0] + [1] * 11, np.uint8)},
            "(digit 0 is 10): label 0 of image 0: expected",
        ),
        ({"y": np.array([1.5] + [1] * 11)}, "label 1.5 of image 0: expected a whole number"),
        ({"y": np.arange(1, 4, dtype=np.uint8)}, "has 12 images, but 3 labels"),
        ({"y": "digits"}, "has 12 images, but 1 labels"),
        ({"y": None}, "lacks X or y"),
        ({"X": None}, "lacks X or y, the images and labels of SVHN's cropped digits (format 2)"),
        (
            {"X": np.zeros((64, 64, 3, 12), np.uint8)},
            "X is uint8 of shape (64, 64, 3, 12), expected",
        ),
        ({"X": np.zeros((32, 32, 3, 12))}, "X is float64 of shape (32, 32, 3, 12), expected uint8"),
        ({"X": np.zeros((32, 32, 3), np.uint8)}, "of shape (32, 32, 3), expected uint8 of shape"),
        ({"X": {"a": 1}}, "X is ["),
        ({"y": csc_array([np.arange(1, 13)])}, "y is a c"),
        ({"X": csc_array(np.ones((32, 32)))}, "X is a c"),
        ({"y": CELLS}, "y is of type object, expected numbers; download it again"),
    ],
)
def test_other_content_is_one_line(tmp_path, change, said):
    path = write(tmp_path / "svhn", **change)
    found = one_line(lambda: SVHN(tmp_path))
    assert found.startswith(str(path)) and said in found
