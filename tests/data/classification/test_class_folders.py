import logging

from lowres_d2.data.classification import ClassFolderFiles, ClassFolders, count_class_folders
from lowres_d2.data.datasets import check_same_classes, with_classes
from lowres_d2.data.mapper import BrokenImageError

import numpy as np
import pytest
from PIL import Image


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(8, 8) if image is None else image).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path):
    """Two images of cats, one of a dog and three of eels, beside what is none."""
    folder = tmp_path / "train"
    for k, name in enumerate(["cat/1.png", "cat/2.PNG", "dog/a.png", "eel/x.png", "eel/y.png"]):
        save(folder / name, pixels(8, 8, k))
    save(folder / "eel/z.png", pixels(8, 8, 5))
    (folder / "dog/.DS_Store").write_text("")
    (folder / ".cache").mkdir()
    (folder / "README.txt").write_text("mine")
    return folder


def one_line(call, kind=ValueError):
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_are_classes_in_alphabetical_order(root):
    files = ClassFolderFiles(root)
    assert files.classes == ["cat", "dog", "eel"] and files.labels == [0, 0, 1, 2, 2, 2]
    assert files[2] == {"image_id": 3, "label": 1, "file_name": str(root / "dog/a.png")}
    assert files[-1]["file_name"] == str(root / "eel/z.png") and count_class_folders(root) == 3


def test_images_are_in_memory_in_the_same_order(root):
    arrays = ClassFolders(root, 8)
    assert arrays.labels == [0, 0, 1, 2, 2, 2] and arrays.source == str(root)
    for k, item in enumerate(arrays):
        assert np.array_equal(item["image"].permute(1, 2, 0).numpy(), pixels(8, 8, k))
        assert item["file_name"] == ClassFolderFiles(root)[k]["file_name"]
        assert (item["height"], item["width"]) == (8, 8)


def test_classes_may_be_chosen_in_another_order(root):
    for chosen in (ClassFolderFiles(root, ["eel", "cat"]), ClassFolders(root, 8, ["eel", "cat"])):
        assert chosen.classes == ["eel", "cat"] and chosen.labels == [0, 0, 0, 1, 1]
        assert chosen[3]["file_name"] == str(root / "cat/1.png")
    assert count_class_folders(root, ["eel", "cat"]) == 2
    for call in (ClassFolderFiles, count_class_folders):
        said = one_line(lambda call=call: call(root, classes=["cat", "eeel"]))
        assert said == f"{root}: has no class 'eeel'; did you mean 'eel'?"


def test_a_test_set_may_lack_a_class(root, tmp_path):
    for name in ("dog/1.png", "eel/2.png"):
        save(tmp_path / "val" / name)
    (tmp_path / "val/cat").mkdir()
    said = one_line(lambda: ClassFolderFiles(tmp_path / "val"))
    assert said.startswith(f"{tmp_path / 'val/cat'}: has no images; add some, remove the folder")
    train = ClassFolders(root, 8)
    empty = ClassFolders(tmp_path / "val", 8, may_lack_classes=True)
    (tmp_path / "val/cat").rmdir()
    for val in (empty, ClassFolders(tmp_path / "val", 8, train.classes, may_lack_classes=True)):
        check_same_classes(train, val)
        assert val.labels == [1, 2]
    without = ClassFolders(tmp_path / "val", 8)
    assert without.classes == ["dog", "eel"]
    assert with_classes(without, train.classes, [0, 1, 2]).labels == [1, 2]
    other = ClassFolders(save(tmp_path / "other/ant/1.png").parents[1], 8)
    assert "classes differ between" in one_line(lambda: check_same_classes(train, other))


def test_a_folder_without_classes_or_images_says_what_is_expected(tmp_path):
    missing = tmp_path / "none"
    said = one_line(lambda: ClassFolders(missing, 8), FileNotFoundError)
    assert said == f"{missing}: no such folder; expected one with a folder for each class"
    save(tmp_path / "flat/1.png")
    said = one_line(lambda: ClassFolders(tmp_path / "flat", 8))
    assert (
        said == f"{tmp_path / 'flat'}: has no folders; expected one for each class, named after it"
    )
    save(tmp_path / "deep/train/cat/1.png")
    said = one_line(lambda: ClassFolders(tmp_path / "deep", 8))
    assert said.startswith(f"{tmp_path / 'deep/train'}: has no images, but folders (cat)")
    assert said.endswith(f"give {tmp_path / 'deep/train'}, not {tmp_path / 'deep'}")


def test_files_that_are_no_images_are_said_and_left_out(root, caplog):
    (root / "cat/notes.txt").write_text("")
    with caplog.at_level(logging.WARNING):
        assert len(ClassFolderFiles(root)) == 6
    assert f"{root / 'cat'}: 1 files are no images by their ending, and left out" in caplog.text
    assert "notes.txt" in caplog.text and "DS_Store" not in caplog.text


def test_a_broken_image_is_named_or_left_out(root, caplog):
    path = root / "dog/a.png"
    save(root / "dog/b.png")
    path.write_bytes(path.read_bytes()[:60])
    said = one_line(lambda: ClassFolders(root, 8), BrokenImageError)
    assert (
        said.startswith(f"{path}: cannot be read as an image (") and "data.on_broken=skip" in said
    )
    kept = ClassFolders(root, 8, on_broken="skip")
    assert len(kept) == 6 and f"skipped: {path}" in caplog.text
    assert kept[2]["file_name"] == str(root / "dog/b.png") and kept.labels == [0, 0, 1, 2, 2, 2]
    said = one_line(lambda: ClassFolders(root, 8, on_broken="ignore"))
    assert said == "on_broken='ignore': expected error or skip"


def test_of_broken_images_alone_no_set_is_made(tmp_path):
    path = save(tmp_path / "cat/1.png")
    path.write_bytes(b"")
    said = one_line(lambda: ClassFolders(tmp_path, 8, on_broken="skip"))
    assert said == f"{tmp_path}: none of its 1 images can be read"


def test_a_class_of_broken_images_alone_is_an_error_but_in_a_test_set(root, caplog):
    for name in ("cat/1.png", "cat/2.PNG"):
        (root / name).write_bytes(b"")
    said = one_line(lambda: ClassFolders(root, 8, on_broken="skip"))
    assert said.startswith(f"{root}: no image of class cat can be read; replace some")
    test = ClassFolders(root, 8, on_broken="skip", may_lack_classes=True)
    assert test.classes == ["cat", "dog", "eel"] and test.labels == [1, 2, 2, 2]
    assert f"{root}: has no images of class cat: nothing can be evaluated" in caplog.text


def test_images_of_unused_classes_are_counted(root, caplog):
    with caplog.at_level(logging.INFO):
        for call in (ClassFolderFiles, lambda *given: ClassFolders(given[0], 8, given[1])):
            caplog.clear()
            assert len(call(root, ["dog", "cat"])) == 3
            assert f"{root}: 3 images of 1 unused classes left out (eel)" in caplog.text
        caplog.clear()
        ClassFolderFiles(root)
        assert "left out" not in caplog.text


def test_images_beside_and_below_the_class_folders_are_counted(root, caplog):
    for name in ("stray.png", "cat/a/1.png", "cat/a/b/2.PNG", "cat/a/3.txt", ".cache/4.png"):
        save(root / name, format="png")
    with caplog.at_level(logging.WARNING):
        assert len(ClassFolderFiles(root)) == 6
    assert f"{root}: 3 images are left out, which are not in a class folder itself" in caplog.text
    assert "stray.png, cat/a/1.png, cat/a/b/2.PNG" in caplog.text


def test_files_that_pillow_only_writes_are_no_images(root, caplog):
    save(root / "cat/page.pdf")
    with caplog.at_level(logging.WARNING):
        assert len(ClassFolderFiles(root)) == 6
    assert "1 files are no images by their ending, and left out: page.pdf" in caplog.text


def test_content_that_is_no_image_is_said_in_words(root):
    (root / "dog/a.png").write_bytes(b"%PDF-1.4 of no image")
    said = one_line(lambda: ClassFolders(root, 8), BrokenImageError)
    assert "cannot be read as an image (is of no format that Pillow reads)" in said


def test_the_middle_is_kept_of_images_of_other_shapes(tmp_path):
    wide, tall = pixels(8, 14, 1), pixels(20, 8, 2)
    save(tmp_path / "a/1.png", wide)
    save(tmp_path / "a/2.png", tall)
    save(tmp_path / "a/3.png", np.full((40, 80, 3), 77, np.uint8))
    save(tmp_path / "a/4.png", pixels(1, 1, 3))
    images = ClassFolders(tmp_path, 8).images.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(images[0], wide[:, 3:11]) and np.array_equal(images[1], tall[6:14])
    assert (images[2] == 77).all() and (images[3] == pixels(1, 1, 3)).all()


def test_grey_deep_and_rotated_files_are_read_as_they_look(tmp_path):
    grey = pixels(8, 8)[..., 0]
    save(tmp_path / "a/1.png", grey)
    save(tmp_path / "a/2.png", grey.astype(np.uint16) * 257)
    np.save(tmp_path / "a/3.npy", pixels(8, 8))
    turned = Image.Exif()
    turned[0x0112] = 6  # rotated by 90 degrees
    save(tmp_path / "a/4.png", pixels(8, 8), exif=turned)
    images = ClassFolders(tmp_path, 8).images.permute(0, 2, 3, 1).numpy()
    for k in range(2):
        assert (images[k] == grey[..., None]).all()
    assert np.array_equal(images[2], pixels(8, 8))
    assert np.array_equal(images[3], np.rot90(pixels(8, 8), -1))


def test_settings_of_deep_and_of_large_files_are_those_of_the_data_set(tmp_path):
    save(tmp_path / "a/1.png", np.full((8, 8), 8000, np.uint16))
    assert (ClassFolders(tmp_path, 8, value_range=[7000, 9000]).images == 128).all()
    said = one_line(lambda: ClassFolders(tmp_path, 8, max_pixels=63), BrokenImageError)
    assert said == (
        f"{tmp_path / 'a/1.png'}: 8x8 are 64 pixels, over the limit of 63: set data.max_pixels=64, "
        "if the file is right, or set data.on_broken=skip"
    )
    np.save(tmp_path / "a/0.npy", np.ones((8, 8), np.float32))
    said = one_line(lambda: ClassFolders(tmp_path, 8), BrokenImageError)
    assert "in this file, have no known range: set data.value_range=[low,high], which" in said
    np.save(tmp_path / "a/0.npy", np.ones((8, 8, 5), np.uint8))
    said = one_line(lambda: ClassFolders(tmp_path, 8), BrokenImageError)
    assert "has 5 channels, image_format='RGB' has 3: store it as RGB, or set data.on_" in said
    (tmp_path / "a/0.npy").unlink()
    for size in (0, 2.5, True):
        said = one_line(lambda size=size: ClassFolders(tmp_path, size))
        assert said == f"size={size!r}: expected a whole number of pixels, 1 or more"
