import os
import pickle

from lowres_d2.data.classification import Cifar10, Cifar100

import numpy as np
import pytest
import torch

from toys.batch_files import BatchFolder, python2_pickle

NAMES = [f"class{k}" for k in range(10)]


@pytest.fixture
def cifar10(tmp_path):
    """CIFAR-10 with 4 images a batch."""
    made = BatchFolder(tmp_path / "data" / "cifar-10-batches-py")
    made.root = tmp_path / "data"
    made.batches = {}
    for k, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        labels = [(4 * k + i) % 10 for i in range(4)]
        made.batches[name] = {
            "batch_label": f"batch {k}",
            "labels": labels,
            "data": made.pixels(4),
            "filenames": ["a.png", "b.png", "c.png", "d\xe9.png"],
        }
        made.write(name, made.batches[name])
    made.write("batches.meta", {"num_cases_per_batch": 4, "label_names": NAMES, "num_vis": 3072})
    return made


def test_images_labels_and_classes_are_those_of_the_files(cifar10):
    train, test = Cifar10(cifar10.root), Cifar10(cifar10.root, "test")
    assert (len(train), len(test)) == (20, 4) and train.classes == test.classes == NAMES
    for index, record in enumerate(train):
        batch = cifar10.batches[f"data_batch_{index // 4 + 1}"]
        row = batch["data"][index % 4]
        assert record["label"] == batch["labels"][index % 4] == index % 10
        assert record["image_id"] == index + 1 and (record["height"], record["width"]) == (32, 32)
        # Planes of red, green and blue, each row by row.
        for channel, y, x in ((0, 0, 0), (1, 0, 31), (2, 31, 5)):
            assert record["image"][channel, y, x] == row[1024 * channel + 32 * y + x]
    assert torch.equal(
        test.images.flatten(), torch.tensor(cifar10.batches["test_batch"]["data"].ravel())
    )


def test_the_writer_of_these_tests_writes_what_python_reads(cifar10):
    content = cifar10.batches["data_batch_1"]
    read = pickle.loads(python2_pickle(content), encoding="latin1")
    assert np.array_equal(read.pop("data"), content["data"])
    assert read == {key: value for key, value in content.items() if key != "data"}


def test_the_folder_itself_is_found_and_files_of_python_3_are_read(cifar10):
    content = {key.encode(): value for key, value in cifar10.batches["test_batch"].items()}
    cifar10.write_python3("test_batch", content)  # bytes as keys, as CIFAR's page reads it
    assert Cifar10(cifar10.folder, "test").labels == cifar10.batches["test_batch"]["labels"]


def one_line_error(call, kind=ValueError):
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return str(caught.value)


def test_a_missing_folder_and_a_missing_file_say_what_to_unpack(cifar10):
    said = one_line_error(lambda: Cifar10(cifar10.root / "none"), FileNotFoundError)
    assert f"{cifar10.root}/none/cifar-10-batches-py: no such folder" in said
    assert "cifar-10-python.tar.gz" in said
    (cifar10.folder / "data_batch_4").unlink()
    said = one_line_error(lambda: Cifar10(cifar10.root), FileNotFoundError)
    assert "has no data_batch_4;" in said and "cifar-10-python.tar.gz" in said


@pytest.mark.parametrize("name", ["cifar-10-batches-py", "mine"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_folder_itself_is_known_by_any_of_its_files(cifar10, name, split):
    folder = cifar10.folder.rename(cifar10.root / name)
    (folder / "batches.meta").unlink()
    said = one_line_error(lambda: Cifar10(folder, split), FileNotFoundError)
    assert said.startswith(f"{folder}: has no batches.meta; expected the files of cifar-10-python")
    (folder / "test_batch").unlink()
    said = one_line_error(lambda: Cifar10(folder, split), FileNotFoundError)
    missing = "batches.meta, test_batch" if split == "test" else "batches.meta"
    assert said.startswith(f"{folder}: has no {missing}; expected")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_empty_arrays_are_read_whatever_protocol_they_are_in(cifar10, protocol):
    content = {"data": np.zeros((0, 3072), np.uint8), "labels": np.zeros(0, np.int64)}
    (cifar10.folder / "test_batch").write_bytes(pickle.dumps(content, protocol))
    said = one_line_error(lambda: Cifar10(cifar10.root, "test"))
    assert said == f"{cifar10.folder} (test): has no images; expected at least one"


def test_bytes_of_a_given_length_are_not_made(cifar10):
    (cifar10.folder / "test_batch").write_bytes(b"c__builtin__\nbytes\n(I1000000000000\ntR.")
    said = one_line_error(lambda: Cifar10(cifar10.root, "test"))
    assert said.startswith(f"{cifar10.folder / 'test_batch'}: cannot be read as a batch of CIFAR")


@pytest.mark.parametrize("keep", [0, 1, 40, 5000, -1])
def test_a_truncated_file_is_named(cifar10, keep):
    path = cifar10.folder / "data_batch_2"
    path.write_bytes(path.read_bytes()[:keep])
    said = one_line_error(lambda: Cifar10(cifar10.root))
    assert said.startswith(f"{path}: cannot be read as a batch of CIFAR-10 (")
    assert said.endswith("download it again")


def test_other_content_is_named(cifar10):
    path = cifar10.folder / "data_batch_2"
    path.write_text("<!doctype html>\n<html>not found</html>\n")
    assert one_line_error(lambda: Cifar10(cifar10.root)).startswith(f"{path}: cannot be read as")


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(cifar10, tmp_path, name):
    target = tmp_path / "harm"
    cifar10.write_python3(name, {"data": Harm(str(target)), "labels": [0]})
    said = one_line_error(lambda: Cifar10(cifar10.root))
    assert str(cifar10.folder / name) in said
    assert "its pickle refers to posix.mkdir, which could run code" in said
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": [0, 1, 10, 3]}, "label 10 of image 2: expected a whole number from 0 to 9"),
        ({"labels": [0, -1, 1, 3]}, "label -1 of image 1: expected"),
        ({"labels": ["cat", 1, 2, 3]}, "label 'cat' of image 0: expected"),
        ({"labels": [0, 1, 2]}, "has 4 images, but 3 labels; download it again"),
        ({"labels": None}, "has 4 images, but no list of labels"),
        ({"labels": np.array(3)}, "has 4 images, but no list of labels; download it again"),
        ({"labels": np.zeros((4, 1), int)}, "label [0] of image 0: expected a whole number"),
        ({"data": np.array(3, np.uint8)}, "its data are uint8 of shape (), expected uint8"),
        ({"data": np.zeros((4, 3 * 64 * 64), np.uint8)}, "of shape (4, 12288), expected uint8"),
        ({"data": np.zeros((4, 3072), np.float32)}, "its data are float32 of shape (4, 3072)"),
        ({"data": [1, 2]}, "its data are list, expected uint8 of shape (N, 3072)"),
        ({"labels": ..., "fine_labels": [0] * 4}, "expected data and labels; give the python"),
    ],
)
def test_wrong_content_is_one_line(cifar10, change, said):
    content = cifar10.batches["data_batch_3"] | change
    content = {key: value for key, value in content.items() if value is not ...}
    cifar10.write_python3("data_batch_3", content)
    found = one_line_error(lambda: Cifar10(cifar10.root))
    assert found.startswith(f"{cifar10.folder / 'data_batch_3'}: ") and said in found


@pytest.mark.parametrize("content", [[1, 2], {"label_names": NAMES[:9]}, {"fine_label_names": []}])
def test_wrong_class_names_are_one_line(cifar10, content):
    cifar10.write("batches.meta", content)
    said = one_line_error(lambda: Cifar10(cifar10.root))
    assert said.startswith(f"{cifar10.folder / 'batches.meta'}: ")


def test_a_wrong_split_names_the_nearest():
    said = one_line_error(lambda: Cifar10("nowhere", "tset"))
    assert said == "split='tset': expected train or test; did you mean test?"


@pytest.fixture
def cifar100(tmp_path):
    made = BatchFolder(tmp_path / "cifar-100-python")
    for name, number in (("train", 6), ("test", 3)):
        labels = {"fine_labels": [99 - k for k in range(number)], "coarse_labels": [19] * number}
        made.write(name, labels | {"data": made.pixels(number)})
    fine, coarse = ([f"{kind}{k}" for k in range(n)] for kind, n in (("f", 100), ("c", 20)))
    made.write("meta", {"fine_label_names": fine, "coarse_label_names": coarse})
    return made


def test_cifar100_has_fine_or_coarse_classes(cifar100):
    fine, coarse = Cifar100(cifar100.folder.parent), Cifar100(cifar100.folder, coarse=True)
    assert fine.labels == [99, 98, 97, 96, 95, 94] and coarse.labels == [19] * 6
    assert [len(fine.classes), len(coarse.classes)] == [100, 20]
    assert (fine.classes[99], coarse.classes[19]) == ("f99", "c19")
    assert torch.equal(fine.images, coarse.images)
    assert len(Cifar100(cifar100.folder, "test")) == 3


def test_cifar100_in_its_own_folder_says_which_file_is_missing(cifar100):
    (cifar100.folder / "meta").unlink()
    said = one_line_error(lambda: Cifar100(cifar100.folder, "test"), FileNotFoundError)
    assert said.startswith(f"{cifar100.folder}: has no meta; expected the files of cifar-100")


def test_a_file_of_cifar10_is_none_of_cifar100(cifar100):
    cifar100.write("train", {"labels": [0, 1], "data": cifar100.pixels(2)})
    said = one_line_error(lambda: Cifar100(cifar100.folder))
    assert "has the keys data, labels, expected data and fine_labels" in said
