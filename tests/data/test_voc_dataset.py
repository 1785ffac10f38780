from lowres_d2.data.datasets import VOC_CLASSES, VocDataset
from lowres_d2.data.datasets.voc_files import read_voc_xml
from lowres_d2.data.validation import Findings, read_split

import numpy as np
import pytest
from PIL import Image

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>
<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"""


def write_image(root, year, stem, *objects, size=(50, 30)):
    folder = root / f"VOC{year}"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    width, height = size
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(
        folder / "JPEGImages" / f"{stem}.jpg"
    )
    nodes = "".join(
        OBJECT.format(name=n, difficult=d, x0=b[0], y0=b[1], x1=b[2], y1=b[3])
        for n, d, b in objects
    )
    (folder / "Annotations" / f"{stem}.xml").write_text(
        f"<annotation><filename>{stem}.jpg</filename><size><width>{width}</width>"
        f"<height>{height}</height><depth>3</depth></size>{nodes}</annotation>"
    )
    with (folder / "ImageSets" / "Main" / "trainval.txt").open("a") as lines:
        lines.write(f"{stem}\n")


@pytest.fixture
def voc(tmp_path):
    write_image(tmp_path, 2007, "000005", ("cat", 0, (1, 1, 10, 20)), ("dog", 1, (11, 5, 50, 30)))
    write_image(tmp_path, 2012, "2008_000008", ("person", 0, (7, 3, 7, 3)))
    return tmp_path


def test_pixels_count_from_one_and_include_the_last(voc):
    cat, dog = VocDataset(voc)[0]["annotations"]
    assert cat["bbox"] == [0, 0, 10, 20] and cat["iscrowd"] == 0
    assert dog["bbox"] == [10, 4, 40, 26] and dog["iscrowd"] == 1
    assert VOC_CLASSES[cat["category_id"]] == "cat"


@pytest.mark.parametrize("name", ["classes.txt", "data.yaml", "obj.names"])
def test_files_of_annotation_programs_beside_the_lists_make_it_no_yolo(voc, name):
    for folder in (voc, voc / "VOC2007", voc / "VOC2007" / "Annotations"):
        (folder / name).write_text("cat\n")
    assert len(VocDataset(voc)) == 1
    for source in (voc / "VOC2007", voc / "VOC2007" / "Annotations"):
        findings = Findings()
        assert len(read_split(source, findings).images) == 1 and not list(findings)
    with pytest.raises(FileNotFoundError, match="no such list; there are trainval"):
        VocDataset(voc, "test")
    with pytest.raises(ValueError, match="YOLO's format"):
        VocDataset(voc, year=2010)


def test_years_are_put_together(voc):
    dataset = VocDataset(voc, year=[2007, 2012])
    assert [record["image_id"] for record in dataset] == [1, 2]
    assert dataset[1]["annotations"][0]["bbox"] == [6, 2, 1, 1]
    truth = dataset.coco_dict()
    assert [a["id"] for a in truth["annotations"]] == [1, 2, 3]
    assert [c["name"] for c in truth["categories"]] == VOC_CLASSES


def test_classes_select_and_order_and_objects_of_others_are_counted(voc, caplog):
    caplog.set_level("INFO")
    dataset = VocDataset(voc, year=[2007, 2012], classes=["person", "cat"])
    assert dataset.classes == ["person", "cat"]
    labels = [[a["category_id"] for a in record["annotations"]] for record in dataset]
    assert labels == [[1], [0]]
    assert "1 objects of 1 unused classes left out (dog)" in caplog.text


def test_classes_other_than_the_twenty_have_to_be_given(voc):
    write_image(voc, 2007, "7", ("bolt", 0, (1, 1, 9, 9)))
    with pytest.raises(ValueError, match=r"class 'bolt' is not one of VOC's; .*classes=\[...\]"):
        VocDataset(voc)
    dataset = VocDataset(voc, classes=["bolt"])
    assert [len(record["annotations"]) for record in dataset] == [0, 1]


def test_a_test_set_may_lack_some_of_the_classes_but_not_all(voc, caplog):
    classes = ["cat", "bolt"]
    with pytest.raises(ValueError, match="has no class 'bolt'"):
        VocDataset(voc, classes=classes)
    dataset = VocDataset(voc, classes=classes, may_lack_classes=True)
    assert dataset.classes == classes and "has no class bolt" in caplog.text
    with pytest.raises(ValueError, match="has no class 'bolt'"):
        VocDataset(voc, classes=["bolt"], may_lack_classes=True)


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".bmp"])
def test_images_of_another_format_are_found_by_loader_and_validation_alike(voc, suffix):
    jpeg = voc / "VOC2007" / "JPEGImages" / "000005.jpg"
    Image.open(jpeg).save(jpeg.with_suffix(suffix))
    jpeg.unlink()
    assert VocDataset(voc)[0]["file_name"] == str(jpeg.with_suffix(suffix))
    split = read_split(voc / "VOC2007" / "ImageSets" / "Main" / "trainval.txt", Findings())
    assert [image["file_name"] for image in split.images] == [f"000005{suffix}"]


def test_of_several_images_of_one_stem_the_annotated_one_is_taken(voc):
    jpeg = voc / "VOC2007" / "JPEGImages" / "000005.jpg"
    jpeg.with_suffix(".bmp").touch()  # before .jpg in the folder
    assert VocDataset(voc)[0]["file_name"] == str(jpeg)
    xml = voc / "VOC2007" / "Annotations" / "000005.xml"
    xml.write_text(xml.read_text().replace("000005.jpg", "000005.bmp"))
    assert VocDataset(voc)[0]["file_name"] == str(jpeg.with_suffix(".bmp"))


def test_crowds_are_counted(voc, caplog):
    caplog.set_level("INFO")
    dataset = VocDataset(voc)
    assert (dataset.num_objects, dataset.num_crowds) == (1, 1)
    assert "1 of 2 annotations are crowds" in caplog.text


def test_corners_that_are_fractions_are_refused(voc):
    boxes = [("cat", 0, (0.1 * k, 0.2, 0.3 + 0.1 * k, 0.4)) for k in range(6)]
    write_image(voc, 2010, "1", *boxes)
    with pytest.raises(ValueError, match="its 6 boxes look like fractions of the image"):
        VocDataset(voc, year=2010)
    findings = Findings()
    assert read_split(voc / "VOC2010", findings) is None
    assert "fractions" in str(next(iter(findings)).suspects[0])


def test_mistakes_are_named(voc):
    with pytest.raises(FileNotFoundError, match=r"test.txt: no such list; there are trainval"):
        VocDataset(voc, "test")
    with pytest.raises(FileNotFoundError, match=r"datasets/README.md"):
        VocDataset(voc, year=2010)
    with pytest.raises(ValueError, match=r"has no class 'cta'; did you mean 'cat'"):
        VocDataset(voc, classes=["cta"])
    (voc / "VOC2007" / "JPEGImages" / "000005.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images .* 000005.jpg"):
        VocDataset(voc)
    with pytest.raises(ValueError, match="classes='cat': expected a list"):
        VocDataset(voc, classes="cat", check_images=False)
    write_image(voc, 2007, "1", ("cat", 0, (20, 5, 15, 9)))
    with pytest.raises(ValueError, match=r"object 1 \(cat\) .*1.jpg.*: box .* negative side"):
        VocDataset(voc, check_images=False)
    assert len(VocDataset(voc, check_images=False, invalid_boxes="skip")[1]["annotations"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "is not XML"),
        ("<annotation></annotation>", "has no <size><height>"),
        (
            "<annotation><size><width>9</width><height>3</height></size>"
            + OBJECT.format(name=" ", difficult=0, x0=1, y0=1, x1=2, y1=2)
            + "</annotation>",
            "<object> has no <name>",
        ),
        (
            "<annotation><size><width>x</width><height>3</height></size></annotation>",
            "size/width is 'x'; expected a number",
        ),
        (
            "<annotation><size><width>0</width><height>3</height></size></annotation>",
            "size is 0x3",
        ),
    ],
)
def test_broken_xml_is_named(tmp_path, text, message):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_voc_xml(path)
    assert str(path) in str(caught.value)
