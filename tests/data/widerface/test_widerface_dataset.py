"""WiderFace from its MATLAB file and from both forms of text."""

from pathlib import Path

from lowres_d2.data.datasets import CocoDataset, WiderFaceDataset
from lowres_d2.data.datasets.widerface import read_wider_faces, read_wider_subsets
from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.evaluation import WiderFaceEvaluator
from lowres_d2.programs.prepare_widerface import main

import pytest
from detectron2.config import LazyConfig, instantiate
from PIL import Image

from toys.wider_files import write_mat

REPOSITORY = Path(__file__).parents[3]
EVENTS = {
    "0--Parade": {
        "0_Parade_a_1": ([[45, 11, 4, 4], [31, 26, 13, 3]], [0, 1], [2]),
        "0_Parade_a_2": ([[0, 0, 0, 0]], [0], []),
    },
    "1--Handshaking": {"1_Handshaking_b_7": ([[5, 6, 70, 30]], [0], [1])},
}
TEXT = """\
0--Parade/0_Parade_a_1.jpg
2
45 11 4 4 2 0 0 0 2 0
31 26 13 3 2 0 0 1 1 0
0--Parade/0_Parade_a_2.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/1_Handshaking_b_7.jpg
1
5 6 70 30 0 0 0 0 0 0
"""
MARKED = """\
# 0--Parade/0_Parade_a_1.jpg
45 11 4 4
31 26 13 3
# 1--Handshaking/1_Handshaking_b_7.jpg
5 6 70 30 488.9 373.6 0.0 542.0 376.4 0.0 0.82
"""


def write_images(root):
    for event, images in EVENTS.items():
        (root / event).mkdir(parents=True)
        for name in images:
            Image.new("RGB", (100, 60)).save(root / event / f"{name}.jpg")
    return root


@pytest.fixture
def mat(tmp_path):
    write_mat(tmp_path / "wider_face_val.mat", EVENTS)
    return tmp_path / "wider_face_val.mat"


@pytest.fixture
def write(tmp_path):
    def text(content, name="wider_face_val_bbx_gt.txt"):
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return text


def test_the_three_forms_say_the_same(mat, write):
    images = read_wider_faces(mat)
    assert images == read_wider_faces(write(TEXT))
    assert [image.name for image in images] == [
        "0--Parade/0_Parade_a_1.jpg",
        "0--Parade/0_Parade_a_2.jpg",
        "1--Handshaking/1_Handshaking_b_7.jpg",
    ]
    assert [image.boxes for image in images] == [
        [[45, 11, 4, 4], [31, 26, 13, 3]],
        [],
        [[5, 6, 70, 30]],
    ]
    assert [image.invalid for image in images] == [[False, True], [], [False]]
    marked = read_wider_faces(write(MARKED))
    assert [image[:2] for image in marked] == [images[k][:2] for k in (0, 2)]
    assert not any(any(image.invalid) for image in marked)


def test_faces_are_one_class_and_invalid_ones_ignored(mat, tmp_path):
    write_images(tmp_path / "images")
    dataset = WiderFaceDataset(mat)
    assert dataset.classes == ["face"]
    assert [(r["width"], r["height"], len(r["annotations"])) for r in dataset] == [
        (100, 60, 2),
        (100, 60, 0),
        (100, 60, 1),
    ]
    first, second = dataset[0]["annotations"]
    assert (first["bbox"], first["iscrowd"], second["iscrowd"]) == ([45, 11, 4, 4], 0, 1)
    assert WiderFaceDataset(mat, invalid="object").num_objects == 3
    with pytest.raises(ValueError, match="invalid='skip': expected 'ignore' or 'object'"):
        WiderFaceDataset(mat, invalid="skip")
    (tmp_path / "images/0--Parade/0_Parade_a_2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 images are not in"):
        WiderFaceDataset(mat)


def test_boxes_without_area_are_named_or_skipped(write, tmp_path):
    root = write_images(tmp_path / "images")
    path = write(TEXT.replace("45 11 4 4", "45 11 0 4"))
    with pytest.raises(ValueError, match=r"face 1 \(image .*0_Parade_a_1.jpg\).* has no area"):
        WiderFaceDataset(path, root)
    assert WiderFaceDataset(path, root, invalid_boxes="skip").num_objects == 1


TEXT_FAULTS = {
    "name": (TEXT.replace("0--Parade/0_Parade_a_1.jpg", "7"), "line 1 is '7'; expected the path"),
    "number": (TEXT.replace("jpg\n2\n", "jpg\n"), "line 2 is '45 11 4 4 .*expected the number of"),
    "short": (TEXT.replace("45 11 4 4 2 0 0 0 2 0", "45 11 4 4"), "line 3 .*expected 10 numbers"),
    "cut": (TEXT.replace("\n1\n5 6", "\n3\n5 6"), "ends within the 3 faces of 1--Handshaking"),
    "nan": (MARKED.replace("45", "nan"), "line 2 is 'nan 11 4 4'; expected 4 numbers"),
    "mark": (MARKED.replace("# 1--Handshaking/", "# "), "line 4 .*expected # and the path"),
    "empty": ("", "has no images"),
}


@pytest.mark.parametrize("fault", TEXT_FAULTS)
def test_faults_of_text_are_named(write, fault):
    content, message = TEXT_FAULTS[fault]
    with pytest.raises(ValueError, match=message) as caught:
        read_wider_faces(write(content))
    assert "bbx_gt.txt" in str(caught.value) and "\n" not in str(caught.value)


def test_faults_of_mat_files_are_named(tmp_path):
    path = tmp_path / "wider_face_val.mat"
    with pytest.raises(FileNotFoundError, match=r"give WiderFace's, a \.mat or text file"):
        read_wider_faces(path)
    path.write_text("no matrix")
    with pytest.raises(ValueError, match="is no MATLAB file that can be read"):
        read_wider_faces(path)
    write_mat(path, {"0--Parade": {"a": ([[1, 2, 3, 4]], [0, 1], [1])}})
    with pytest.raises(ValueError, match="0--Parade/a has 1 faces, but 2 labels of them"):
        read_wider_faces(path)
    write_mat(path, EVENTS, face_bbx_list=[[1, 2]])
    with pytest.raises(ValueError, match="its cells are not those of WiderFace"):
        read_wider_faces(path)
    with pytest.raises(FileNotFoundError, match=r"wider_easy_val.mat: no such file; expected the"):
        read_wider_subsets(tmp_path)
    write_mat(tmp_path / "wider_easy_val.mat", {"e": {"a": ([[1, 2, 3, 4]], [0], [2])}})
    with pytest.raises(ValueError, match="gt_list of e/a has numbers 2 to 2; expected 1 to 1"):
        read_wider_subsets(tmp_path)


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val"):
        write_images(tmp_path / f"WIDER_{split}/images")
    for folder in ("wider_face_split", "eval_tools/ground_truth"):
        (tmp_path / folder).mkdir(parents=True)
    write_mat(tmp_path / "wider_face_split/wider_face_train.mat", EVENTS)
    (tmp_path / "wider_face_split/wider_face_val_bbx_gt.txt").write_text(TEXT)
    for subset in ("easy", "medium", "hard"):
        write_mat(tmp_path / f"eval_tools/ground_truth/wider_{subset}_val.mat", EVENTS)
    return tmp_path


def test_program_counts_faces(root, capsys):
    main(["--root", str(root), "--coco"])
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in x.split("|")[1:-1]] for x in text.splitlines() if "|" in x]
    # 4 and sqrt(70 x 30), of images of sqrt(6000).
    assert rows[2] == ["train", "3", "2", "1", "24.9 ± 20.9", "0.322 ± 0.270", "50.0%", "50.0%"]
    assert rows[3][:4] == ["val", "3", "2", "1"]
    assert "faces of val: 2 easy, 2 medium, 2 hard" in text
    converted = CocoDataset(root / "widerface_val.json")  # whose images are there
    assert Path(converted[0]["file_name"]).is_relative_to(root / "WIDER_val/images")
    (root / "eval_tools/ground_truth/wider_hard_val.mat").unlink()
    with pytest.raises(SystemExit):
        main(["--root", str(root)])
    assert "error: " in capsys.readouterr().err


def test_validation_reads_the_files(root):
    findings = Findings()
    text = root / "wider_face_split/wider_face_val_bbx_gt.txt"
    mat = root / "wider_face_split/wider_face_train.mat"
    for path, split in ((text, "val"), (mat, "train")):
        read = read_split(path, findings, images=root / f"WIDER_{split}/images")
        report = validate([read], findings, {"all": (0, 1e6)})
        summary = report.summaries[0]
        assert (summary.images, summary.objects, summary.crowds) == (3, 2, 1)
        assert summary.spread == pytest.approx(((4 + 2100**0.5) / 2, (2100**0.5 - 4) / 2))
    assert not findings.count("error")


def test_data_piece_builds(root, monkeypatch):
    (root / "widerface").symlink_to(root)
    (root / "wider_face_split/wider_face_val.mat").symlink_to(
        root / "wider_face_split/wider_face_train.mat"
    )
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    cfg = LazyConfig.load(str(REPOSITORY / "configs/common/data/widerface.py"))
    cfg.train = {"seed": 0, "output_dir": str(root / "out")}
    cfg.dataloader.train.num_workers = 0
    assert next(iter(instantiate(cfg.dataloader.train)))[0]["image"].shape == (3, 60, 100)
    assert isinstance(instantiate(cfg.dataloader.evaluator), WiderFaceEvaluator)
