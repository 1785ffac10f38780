"""Faults of image files: real ones, written here."""

import os

from lowres_d2.data.image import ImageReader
from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.data.validation.images import check_images, pixel_statistics

import numpy as np
import pytest
from PIL import Image

ORIENTATION = 0x0112


def looked_at(coco, level="draft", **settings):
    findings = Findings()
    split = read_split(coco.json_file, findings, **settings)
    check_images(split, findings, level)
    return {f.check.name: (f.severity, f.suspects) for f in findings}


def store(coco, k, pixels, name=None, **options):
    """Put an image in place of image k."""
    path = coco.folder / "images" / (name or f"{k}.jpg")
    Image.fromarray(pixels).save(path, **options)
    coco.content["images"][k]["file_name"] = path.name
    return path


def noise(height=40, width=60, channels=3):
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("level", ["header", "draft", "full"])
def test_sound_images_have_no_findings(coco, level):
    store(coco, 0, noise())
    assert looked_at(coco, level) == {}


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("level", ["draft", "full"])
def test_cut_off_image_is_broken_when_decoded_and_suspect_before(coco, suffix, level):
    path = store(coco, 2, noise(), f"cut{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    severity, suspects = looked_at(coco, level)["image-broken"]
    assert (severity, suspects[0].image_id, suspects[0].image) == ("error", 12, f"cut{suffix}")
    assert set(looked_at(coco, "header")) == {"image-cut"}
    assert looked_at(coco, level, skips_images=True)["image-broken"][0] == "warning"


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0 no more"])
def test_files_that_are_no_images_are_broken_at_every_level(coco, content):
    coco.image(1).write_bytes(content)
    for level in ("header", "full"):
        assert set(looked_at(coco, level)) == {"image-broken"}


def test_missing_images_are_named_with_what_is_there_instead(coco):
    coco.image(0).rename(coco.folder / "images" / "0.PNG")
    coco.image(1).rename(coco.folder / "images" / "1.jpeg")
    coco.image(2).unlink()
    severity, suspects = looked_at(coco)["image-missing"]
    assert severity == "error"
    assert [s.detail for s in suspects] == ["there is 0.PNG", "there is 1.jpeg", ""]


def test_no_image_at_all_is_one_finding_that_names_the_folder(coco):
    for k in range(6):
        coco.image(k).unlink()
    (coco.folder / "images").rmdir()
    _, suspects = looked_at(coco, images=coco.folder / "images")["image-missing"]
    assert len(suspects) == 6
    assert "does not exist" in suspects[0].detail


def test_another_size_than_annotated_is_an_error(coco):
    store(coco, 0, noise(60, 40))
    severity, suspects = looked_at(coco, "header")["image-size"]
    assert severity == "error"
    assert suspects[0].detail == "is 40x60, annotated as 60x40"


@pytest.mark.parametrize(
    ("orientation", "shape", "check"),
    [
        (6, (40, 60), "image-turned"),  # annotated as it is stored, but read as rotated
        (6, (60, 40), "image-exif-fine"),  # annotated as it is read
        (3, (40, 60), "image-exif"),  # upside down: the size does not tell
        (2, (40, 60), "image-exif"),  # mirrored
        (6, (60, 60), "image-size"),
        (1, (40, 60), None),
        (99, (40, 60), None),  # not a valid orientation
    ],
)
def test_exif_orientation_is_compared_with_the_annotated_size(coco, orientation, shape, check):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    store(coco, 3, noise(*shape), exif=exif.tobytes())
    names = looked_at(coco, "header")
    assert list(names) == ([check] if check else [])


def test_turned_images_are_judged_as_the_mapper_reads_them(coco):
    from lowres_d2.data import BrokenImageError, DetectionMapper
    from lowres_d2.data.datasets import CocoDataset

    exif = Image.Exif()
    exif[ORIENTATION] = 6
    store(coco, 0, noise(), exif=exif.tobytes())
    store(coco, 1, noise(60, 40), exif=exif.tobytes())
    dataset = CocoDataset(coco.json_file)
    mapper = DetectionMapper(is_train=True)
    with pytest.raises(BrokenImageError):
        mapper(dataset[0])
    assert mapper(dataset[1])["image"].shape == (3, 40, 60)
    assert set(looked_at(coco)) == {"image-turned", "image-exif-fine"}


def test_square_images_that_exif_turns_are_an_error_until_it_is_said_which_fits(coco):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    coco.content["images"][0].update(height=40, width=40)
    store(coco, 0, noise(40, 40), exif=exif.tobytes())
    severity, suspects = looked_at(coco, "header")["image-exif"]
    assert severity == "error" and "its size does not tell" in suspects[0].detail
    for exif in ("apply", "ignore"):
        reader = ImageReader(exif=exif)
        assert set(looked_at(coco, "header", reader=reader)) == {"image-exif-fine"}
    coco.content["annotations"] = []  # no boxes that could be wrong
    assert set(looked_at(coco, "header")) == {"image-exif-fine"}


def test_a_tiff_is_compared_as_it_is_stored_although_pillow_turns_it(coco):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    store(coco, 3, noise(60, 40), "turned.tif", exif=exif)
    assert set(looked_at(coco, "header")) == {"image-exif-fine"}
    assert set(looked_at(coco, reader=ImageReader(exif="ignore"))) == {"image-turned"}


@pytest.mark.parametrize("level", ["header", "draft", "full"])
def test_pipes_and_folders_are_no_images(coco, level):
    for k, make in enumerate((os.mkfifo, os.mkdir)):
        coco.image(k).unlink()
        make(coco.image(k))
    severity, suspects = looked_at(coco, level)["image-broken"]
    assert severity == "error" and len(suspects) == 2
    assert all("no regular file" in suspect.detail for suspect in suspects)


@pytest.mark.parametrize("level", ["header", "draft", "full"])
def test_the_pixel_limit_is_the_readers(coco, level):
    _, suspects = looked_at(coco, level, reader=ImageReader(max_pixels=2399))["image-unfit"]
    assert len(suspects) == 6
    assert "max_pixels=2400" in suspects[0].detail
    assert looked_at(coco, level, reader=ImageReader(max_pixels=2400)) == {}


def test_statistics_of_the_pixels_are_what_a_model_is_given(coco):
    coco.content["images"] = coco.content["images"][:2]
    coco.content["annotations"] = []
    images = [noise(channels=3), noise(channels=3) // 2]
    for k, pixels in enumerate(images):
        store(coco, k, pixels, f"{k}.png")
    split = read_split(coco.json_file, Findings())
    facts = check_images(split, Findings(), "full").values()
    values = np.stack(images).reshape(-1, 3)
    shown = [", ".join(f"{v:.1f}" for v in x) for x in (values.mean(0), values.std(0))]
    assert pixel_statistics(facts) == (
        f"pixel_mean [{shown[0]}] and pixel_std [{shown[1]}] of its images"
    )
    assert validate([split], Findings(), {}, level="full").notes == [
        f"{split.name}: {pixel_statistics(facts)}"
    ]
    assert pixel_statistics(check_images(split, Findings(), "draft").values()) is None


def test_arrays_of_numpy_are_images(coco):
    np.save(coco.folder / "images" / "a.npy", noise())
    coco.content["images"][0]["file_name"] = "a.npy"
    np.save(coco.folder / "images" / "b.npy", noise(20, 60))
    coco.content["images"][1]["file_name"] = "b.npy"
    found = looked_at(coco)
    assert list(found) == ["image-size"]
    assert found["image-size"][1][0].detail == "is 60x20, annotated as 60x40"


def test_depth_frames_and_wrong_suffixes_are_reported(coco):
    deep = np.full((40, 60), 3000, np.uint16)
    store(coco, 0, deep, "deep.png")
    frames = [Image.fromarray(noise()[..., 0]) for _ in range(3)]
    frames[1].paste(0, (0, 0, 30, 30))
    frames[0].save(coco.folder / "images" / "moving.gif", save_all=True, append_images=frames[1:])
    coco.content["images"][1]["file_name"] = "moving.gif"
    store(coco, 2, noise(), "really.png", format="JPEG")
    expected = {"image-depth": "info", "image-frames": "warning", "image-suffix": "info"}
    found = looked_at(coco, "header")
    assert {name: severity for name, (severity, _) in found.items()} == expected
    # One value of 3000, which 16 bits hardly tell from another.
    narrow = looked_at(coco)
    assert set(narrow) == {*expected, "image-narrow"}
    assert narrow["image-narrow"][1][0].detail == "11.7 to 11.7 where 0 to 255 are possible"


def test_blank_images_are_only_seen_when_all_pixels_are_read(coco):
    store(coco, 0, np.full((40, 60, 3), 7, np.uint8), "blank.png")
    assert looked_at(coco, "draft") == {}
    assert looked_at(coco, "full")["image-blank"][0] == "warning"


def test_threads_report_in_the_order_of_the_file(coco):
    for k in range(6):
        coco.image(k).write_bytes(b"no")
    findings = Findings()
    check_images(read_split(coco.json_file, findings), findings, workers=4)
    assert [s.image_id for s in next(iter(findings)).suspects] == list(range(10, 16))
