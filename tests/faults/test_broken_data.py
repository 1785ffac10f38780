"""Broken data sets: what the validation reports, and what training does with them.

A case is a valid data set with one fault. It has the name of the validation's finding, words of the
place that the finding names, and words of the one-line error of training; None where it trains.
"""

import io
import json
import math
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from lowres_d2.data import DetectionMapper, build_train_loader
from lowres_d2.data.datasets import CocoDataset, VocDataset, check_same_classes
from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.data.validation.text import report_text

import numpy as np
import pytest
from PIL import Image

from toys.data import CLASSES, SIDE, ToyData

SIZE_RANGES = {"all": (0, math.inf)}
ORIENTATION = 0x0112  # EXIF tag


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        fault: the fault in a few words.
        damage: puts the fault into the data.
        finding: name of the check that fails; None: the data is valid.
        place: words of the place that the finding names.
        training: words of the error; None: it trains.
        severity: severity of the finding.
        skip: what can be skipped to train all the same: a box or an image; None: neither.
    """

    fault: str
    damage: Callable
    finding: str | None
    place: str = ""
    training: str | None = None
    severity: str = "error"
    skip: str | None = None


def text(content, encoding="utf-8"):
    """The whole json file is this text."""
    return lambda data: data.json_file.write_bytes(content.encode(encoding))


def encoded(encoding):
    """The valid file in another encoding."""
    return lambda data: data.json_file.write_bytes(json.dumps(data.content).encode(encoding))


def cut(data):
    data.json_file.write_bytes(data.json_file.read_bytes()[:-40])


def change(section, index=0, **values):
    """One entry gets other values."""

    def damage(data):
        data.content[section][index].update(values)
        data.write()

    return damage


def drop(section, key, index=0):
    """One entry loses a key."""

    def damage(data):
        del data.content[section][index][key]
        data.write()

    return damage


def whole(**sections):
    """Sections are replaced; one that is None is removed."""

    def damage(data):
        data.content.update(sections)
        data.content = {k: v for k, v in data.content.items() if v is not None}
        data.write()

    return damage


def box(*numbers):
    return change("annotations", bbox=list(numbers))


def first_image(content):
    """The first image's file has these bytes, or those that a function returns for its own."""

    def damage(data):
        path = data.images / "0.png"
        path.write_bytes(content(path.read_bytes()) if callable(content) else content)

    return damage


def in_place_of_it(make):
    """The first image's file is removed, and something made in its place."""

    def damage(data):
        path = data.images / "0.png"
        path.unlink()
        make(path)

    return damage


def pixels(array, form="PNG", mode=None, **options):
    """The first image has these pixels."""
    stored = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(stored, form, **options)
    return first_image(stored.getvalue())


def noise(*shape, dtype=np.uint8, most=256):
    return np.random.default_rng(9).integers(0, most, shape).astype(dtype)


def png_of_size(width, height, sound=True):
    """A png whose header states another size; its checksum is right unless asked otherwise."""

    def claim(content):
        head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        return (
            content[:12] + head + struct.pack(">I", zlib.crc32(head) ^ (not sound)) + content[33:]
        )

    return first_image(claim)


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


NUMBERS = "is not four finite numbers"
PNG, JSON = "0.png", "all.json"
UNREADABLE = "cannot be read as an image"
RGB = (SIDE, SIDE, 3)

FILES = [
    Case("json cut off", cut, "file-unreadable", JSON, "is not JSON"),
    Case("json empty", text(""), "file-unreadable", JSON, "is not JSON"),
    Case("xml in its place", text("<a/>"), "file-unreadable", JSON, "is not JSON"),
    Case("nested too deep", text("[" * 100_000), "file-unreadable", JSON, "is not JSON"),
    Case("number too long", text("[" + "9" * 5000 + "]"), "file-unreadable", JSON, "is not JSON"),
    Case("no text", text("\xff\xd8", "latin-1"), "file-unreadable", JSON, "is not JSON"),
    Case("list of detections", text("[]"), "file-unreadable", JSON, "perhaps of detections"),
    Case("another json", text('{"a": 1}'), "file-unreadable", JSON, "no list 'images'"),
    Case("a json number", text("3"), "file-unreadable", JSON, "no list 'images'"),
    Case("byte order mark", encoded("utf-8-sig"), None),
    Case("utf-16", encoded("utf-16"), None),
    Case("no categories", whole(categories=None), "file-unreadable", JSON, "no list 'categories'"),
    Case("images by id", whole(images={"1": {}}), "file-unreadable", JSON, "no list 'images'"),
    Case("images are names", whole(images=["0.png"]), "file-unreadable", JSON, "not JSON objects"),
    Case("no images", whole(images=[], annotations=[]), "no-objects", JSON, "has no images"),
    Case("no annotations", whole(annotations=[]), "no-objects", JSON, "no image has an object"),
]

ENTRIES = [
    Case("image id twice", change("images", 1, id=10), "id-twice", "images[1]", "id 10 occurs"),
    Case("image id is text", change("images", id="10"), "id-invalid", "images[0]", "id '10'"),
    Case("image id is true", change("images", id=True), "id-invalid", "images[0]", "id True"),
    Case("image without id", drop("images", "id"), "id-invalid", "images[0]", "id None"),
    Case("annotation id twice", change("annotations", id=2), "id-twice", "id 2", "annotation 2"),
    Case("annotation id null", change("annotations", id=None), "id-invalid", "id None", "id None"),
    Case("annotations without id", drop("annotations", "id"), None),
    Case("dangling image", change("annotations", image_id=9), "image-unknown", "image 9", "id 9"),
    Case("no image", drop("annotations", "image_id"), "image-unknown", "n 1", "annotation 1 has"),
    Case("dangling class", change("annotations", category_id=1), "category-unknown", "n 1", "id 1"),
    Case("no class", drop("annotations", "category_id"), "category-unknown", "n 1", "id None"),
    Case("no file name", drop("images", "file_name"), "image-invalid", "image 10", "image 10"),
    Case("no width", drop("images", "width"), "image-invalid", "image 10", "width None"),
    Case("width is text", change("images", width="64"), "image-invalid", PNG, "width '64'"),
    Case("height is 0", change("images", height=0), "image-invalid", PNG, "height 0"),
    Case("height is nan", change("images", height=math.nan), "image-invalid", PNG, "height nan"),
    Case("class without name", drop("categories", "name"), "category-name", "y 3", "category 3"),
    Case("two classes of a name", change("categories", name="green"), "category-twice", "3, 4",
         "two categories are called 'green'"),
    Case("class id twice", change("categories", id=4), "id-twice", "categories[1]", "id 4 occurs"),
    Case("gap in the class ids", whole(categories=[{"id": 3, "name": "red"},
         {"id": 4, "name": "green"}, {"id": 90, "name": "blue"}]), "class-empty", "blue",
         severity="warning"),
    Case("crowd is 2", change("annotations", iscrowd=2), "iscrowd-invalid", "n 1", "iscrowd 2"),
    Case("area is nan", change("annotations", area=math.nan), "area-invalid", "n 1", "area nan"),
    Case("area under 0", change("annotations", area=-4), "area-invalid", "n 1", "area -4"),
    Case("area is text", change("annotations", area="9"), "area-invalid", "n 1", "area '9'"),
    Case("area of the image", change("annotations", area=4096), "area-too-large", "n 1",
         severity="warning"),
]  # fmt: skip

BOXES = [
    Case(fault, damage, "box-invalid", "annotation 1, image 10, 0.png", words, skip="box")
    for fault, damage, words in (
        ("box of nan", box(math.nan, 2, 10, 10), NUMBERS),
        ("box of infinity", box(2, 2, math.inf, 10), NUMBERS),
        ("box of texts", box("2", "2", "10", "10"), NUMBERS),
        ("box of 1e300", box(2, 2, 1e300, 10), NUMBERS),
        ("box of booleans", box(True, True, True, True), NUMBERS),
        ("box of three", box(2, 2, 10), NUMBERS),
        ("box is an object", change("annotations", bbox={"x": 2}), NUMBERS),
        ("no box, a mask only", drop("annotations", "bbox"), NUMBERS),
        ("negative side", box(20, 20, -10, 10), "annotation 1 (image 0.png): box [20, 20, -10"),
        ("no area", box(20, 20, 0, 10), "has no area"),
        ("outside", box(64, 20, 10, 10), "lies outside the image of 64x64"),
        ("outside at the left", box(-10, 20, 10, 10), "lies outside the image of 64x64"),
    )
] + [
    Case("partly outside", box(58, 20, 10, 10), "box-beyond", "annotation 1", severity="warning"),
    Case("under a pixel", box(20, 20, 0.4, 9), "box-sub-pixel", "annotation 1", severity="warning"),
]

IMAGES = [
    Case("missing", in_place_of_it(lambda path: None), "image-missing", PNG, "not in"),
    Case("name in other case", in_place_of_it(lambda p: p.with_name("0.PNG").touch()),
         "image-missing", "there is 0.PNG", "0.png"),
    Case("link to itself", in_place_of_it(lambda path: path.symlink_to(path)), "image-missing",
         PNG, PNG),
    Case("link to nothing", in_place_of_it(lambda path: path.symlink_to("gone")),
         "image-missing", PNG, PNG),
    Case("a folder", in_place_of_it(os.mkdir), "image-broken", PNG, "is no regular file"),
    Case("name with a zero byte", change("images", file_name="0\0.png"), "image-missing", "image",
         "not in"),
    Case("name too long", change("images", file_name="0" * 5000), "image-missing", "image 10",
         "not in"),
    Case("name of half a character", change("images", file_name="\ud800.png"), "image-missing",
         "image 10", "not in"),
    *(
        Case(fault, damage, "image-broken", PNG, UNREADABLE, skip="image")
        for fault, damage in (
            ("empty", first_image(b"")),
            ("a text", first_image(b"version https://git-lfs.github.com/spec/v1")),
            ("a web page", first_image(b"<!DOCTYPE html><html>404</html>")),
            ("png cut off", first_image(lambda content: content[: len(content) // 2])),
            ("pixels turned over", first_image(lambda c: c[:80] + bytes(30) + c[110:])),
            ("header with a wrong sum", png_of_size(SIDE, SIDE, sound=False)),
        )
    ),
    Case("claims a billion pixels", png_of_size(60_000, 60_000), "image-unfit", PNG,
         "over the limit", skip="image"),
    Case("of another size", pixels(noise(32, 64, 3)), "image-size", "is 64x32, annotated as 64x",
         "is 64x32, but its annotations are for 64x64"),
    Case("claims to be larger", png_of_size(64, 256), "image-size", "is 64x256, annotated as",
         "is 64x256, but its annotations are for 64x64"),
    Case("turned by exif", pixels(noise(*RGB), "JPEG", exif=exif(6)), "image-exif", PNG,
         "its size does not tell whether its boxes follow"),
    Case("jpeg named png", pixels(noise(*RGB), "JPEG"), "image-suffix", "JPEG", severity="info"),
    Case("cmyk", pixels(noise(*RGB), "JPEG", "CMYK"), "image-suffix", "JPEG", severity="info"),
    Case("grey", pixels(noise(SIDE, SIDE)), None),
    Case("alpha", pixels(noise(SIDE, SIDE, 4)), None),
    Case("palette", pixels(noise(*RGB), mode="P"), None),
    Case("black and white", pixels(noise(SIDE, SIDE), mode="1"), None),
    Case("16 bit", pixels(noise(SIDE, SIDE, dtype=np.uint16, most=65536)), "image-depth", "I;16",
         severity="info"),
]  # fmt: skip

CASES = FILES + ENTRIES + BOXES + IMAGES


def report_on(*json_files, level="full", **settings):
    findings = Findings()
    names = ("train", "val")
    splits = [
        read_split(path, findings, name, **settings)
        for path, name in zip(json_files, names, strict=False)
    ]
    return validate([s for s in splits if s], findings, SIZE_RANGES, level=level)


def found(report, severity):
    return {f.check.name: f for f in report.findings if f.severity == severity}


def train_on(data, on_broken="error", **options):
    """Load all images as training does; returns the counts of what was skipped."""
    dataset = CocoDataset(data.json_file, **options)
    loader = build_train_loader(
        dataset, DetectionMapper(is_train=True, on_broken=on_broken), 4, seed=0
    )
    batch = next(iter(loader))
    for sample in batch:
        assert sample["image"].shape == (3, SIDE, SIDE)
        assert sample["instances"].gt_boxes.tensor.isfinite().all()
    return loader.counts


@pytest.fixture
def data(tmp_path):
    made = ToyData(tmp_path / "data")
    made.write()
    return made


def in_words(case):
    return case.fault.replace(" ", "-")


@pytest.mark.parametrize("case", CASES, ids=in_words)
def test_a_fault_is_reported_and_stops_training_where_it_would_do_harm(case, data):
    case.damage(data)
    report = report_on(data.json_file)
    assert report.ok == (case.training is None), [f.check.name for f in report.findings]
    if case.finding is None:
        assert not list(report.findings)
    else:
        finding = found(report, case.severity)[case.finding]
        assert case.place in str(finding.suspects[0]), finding.suspects[0]
        json.dumps(report.record(), allow_nan=False)
        assert case.finding in report_text(report).encode().decode()
    if case.training is None:
        assert not sum(train_on(data).values())
        return
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        train_on(data)
    message = str(caught.value)
    assert "\n" not in message and case.training in message, message
    assert str(data.folder) in message


@pytest.mark.parametrize("case", [c for c in CASES if c.skip], ids=in_words)
def test_what_may_be_skipped_is_skipped_and_counted(case, data, caplog):
    case.damage(data)
    settings = {"skips_boxes": True} if case.skip == "box" else {"skips_images": True}
    report = report_on(data.json_file, **settings)
    assert report.ok
    assert "box-skipped" in found(report, "warning") or case.finding in found(report, "warning")
    if case.skip == "box":
        train_on(data, invalid_boxes="skip")
        assert "1 invalid boxes skipped" in caplog.text
    else:
        assert train_on(data, on_broken="skip")["num_skipped_images"] == 1
        assert "0.png" in caplog.text


def test_a_missing_folder_of_images_is_named(data):
    data.images.rename(data.folder / "elsewhere")
    assert "image-missing" in found(report_on(data.json_file), "error")
    with pytest.raises(FileNotFoundError, match=r"its 4 images \(0\.png.*image_root of other"):
        train_on(data)
    with pytest.raises(FileNotFoundError, match="images: no such folder, for the 4 images"):
        train_on(data, image_root=data.images)


@pytest.fixture
def val(tmp_path):
    made = ToyData(tmp_path / "val", seed=1)
    made.write()
    return made


def test_images_in_both_splits_are_an_error(data, val):
    (val.images / "2.png").write_bytes((data.images / "1.png").read_bytes())
    finding = found(report_on(data.json_file, val.json_file), "error")["overlap"]
    assert [s.image for s in finding.suspects] == ["2.png"]


@pytest.mark.parametrize(
    "names", [["green", "red"], ["red", "geren"], ["red", "green", "blue"]], ids=", ".join
)
def test_other_classes_in_the_other_split_are_an_error_with_both_lists(data, val, names):
    val.content["categories"] = [{"id": 3 + k, "name": name} for k, name in enumerate(names)]
    kept = {3 + k for k in range(len(names))}
    val.content["annotations"] = [a for a in val.content["annotations"] if a["category_id"] in kept]
    val.write()
    report = report_on(data.json_file, val.json_file)
    assert "classes-differ" in found(report, "error")
    with pytest.raises(ValueError, match=r"classes differ between .*give both the same") as caught:
        check_same_classes(CocoDataset(data.json_file), CocoDataset(val.json_file))
    assert "\n" not in str(caught.value)


VOC = """<annotation><filename>{k}.jpg</filename>
<size><width>{width}</width><height>{height}</height></size>
<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>
<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object></annotation>"""


class ToyVoc:
    """The same images with VOC's files, in the folders of VOC2007."""

    def __init__(self, data):
        self.root = data.folder / "voc"
        self.folder = self.root / "VOC2007"
        for name in ("Annotations", "ImageSets/Main"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "JPEGImages").mkdir()
        for k in range(4):
            with Image.open(data.images / f"{k}.png") as image:
                image.save(self.folder / "JPEGImages" / f"{k}.jpg")
            self.write(k)
        self.list = self.folder / "ImageSets" / "Main" / "train.txt"
        self.list.write_text("0\n1\n2\n3\n")

    def write(self, k=0, **values):
        sound = dict(k=k, width=SIDE, height=SIDE, name=CLASSES[k % 2], x0=4, y0=4, x1=20, y1=20)
        self.xml(k).write_text(VOC.format(**sound | values))

    def xml(self, k=0):
        return self.folder / "Annotations" / f"{k}.xml"


def values(**changed):
    return lambda voc: voc.write(**changed)


def content(made):
    """The first xml file has these bytes, or those that a function returns for its own."""

    def damage(voc):
        path = voc.xml()
        path.write_bytes(made(path.read_bytes()) if callable(made) else made)

    return damage


def without(tag):
    return content(lambda old: old.replace(f"<{tag}>".encode(), b"<x>").replace(
        f"</{tag}>".encode(), b"</x>"))  # fmt: skip


VOC_CASES = [
    Case("xml cut off", content(lambda old: old[:60]), "file-unreadable", "0.xml", "is not XML"),
    Case("xml empty", content(b""), "file-unreadable", "0.xml", "is not XML"),
    Case("json in its place", content(b"{}"), "file-unreadable", "0.xml", "is not XML"),
    Case("unknown encoding", content(b"<?xml version='1.0' encoding='klingon'?><a/>"),
         "file-unreadable", "0.xml", "is not XML"),
    Case("bytes that are no text", content(lambda old: old.replace(b"red", b"\xff\xfe")),
         "file-unreadable", "0.xml", "is not XML"),
    Case("xml missing", lambda voc: voc.xml().unlink(), "file-unreadable", "0.xml", "no such"),
    Case("no size", without("size"), "file-unreadable", "0.xml", "no <size><height>"),
    Case("size of 0", values(width=0), "file-unreadable", "0.xml", "size is 0x64"),
    Case("size of nan", values(width="nan"), "file-unreadable", "0.xml", "'nan'"),
    Case("size of infinity", values(height="inf"), "file-unreadable", "0.xml", "'inf'"),
    Case("no box", without("bndbox"), "file-unreadable", "0.xml", "no <bndbox><xmin>"),
    Case("side is a word", values(x0="left"), "file-unreadable", "0.xml", "'left'"),
    Case("side is nan", values(x0="nan"), "file-unreadable", "0.xml", "'nan'"),
    Case("no name", without("name"), "file-unreadable", "0.xml", "no <name>"),
    Case("corners the wrong way round", values(x0=40, x1=20), "box-invalid", "0.jpg",
         "negative side", skip="box"),
    Case("outside", values(x0=90, x1=99), "box-invalid", "0.jpg", "lies outside", skip="box"),
    Case("image missing", lambda voc: (voc.folder / "JPEGImages" / "0.jpg").unlink(),
         "image-missing", "0.jpg", "0.jpg"),
    Case("of another size", values(width=32), "image-size", "0.jpg", "0.jpg"),
    Case("list is no text", lambda voc: voc.list.write_bytes(b"0\n\xff\n"), "file-unreadable",
         "train.txt", "train.txt"),
    Case("list is empty", lambda voc: voc.list.write_text("\n"), "file-unreadable", "train.txt",
         "no images"),
]  # fmt: skip


@pytest.mark.parametrize("case", VOC_CASES, ids=in_words)
def test_a_fault_of_vocs_files_is_reported_and_stops_training(case, data):
    voc = ToyVoc(data)
    case.damage(voc)
    report = report_on(voc.list, classes=CLASSES)
    finding = found(report, "error")[case.finding]
    assert case.place in str(finding.suspects[0])
    options = dict(root=voc.root, split="train", classes=CLASSES)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        dataset = VocDataset(**options)
        for record in dataset:
            DetectionMapper(is_train=True)(record)
    message = str(caught.value)
    assert "\n" not in message and case.training in message, message
    assert str(voc.root) in message
    if case.skip == "box":
        assert report_on(voc.list, classes=CLASSES, skips_boxes=True).ok
        kept = VocDataset(**options, invalid_boxes="skip")
        assert [len(record["annotations"]) for record in kept] == [0, 1, 1, 1]
