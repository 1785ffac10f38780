import json
import shutil
import subprocess

from lowres_d2.data.datasets.pseudo_labels import PseudoLabels
from lowres_d2.data.folders import panlabel
from lowres_d2.programs.convert_data import main

import pytest

LOSSY = {"severity": "warning", "message": "1 annotation(s) have attributes"}
INSTALLED = panlabel.find_program() is not None


def convert(folder, *more):
    source, target = folder.root / "source.xml", folder.root / "data.json"
    return [str(source), str(target), *more]


@pytest.fixture
def stub(folder, monkeypatch):
    """In panlabel's place something that copies a COCO file, or refuses to."""
    folder.image("a.png")
    folder.text("source.xml", "")
    folder.coco("source.json", "a.png")

    def run(words, **_):
        given = dict(word.partition("=")[::2] for word in words[2:])
        form = given["--from"]
        report = json.dumps({"issues": [LOSSY if form == "lossy" else {"severity": "info"}]})
        if form == "none":
            return subprocess.CompletedProcess(words, 2, "", "error: no such format\nhelp\n")
        if form == "lossy" and "--allow-lossy" not in given:
            return subprocess.CompletedProcess(words, 1, report, "Error: blocked")
        shutil.copy(folder.root / "source.json", given["--output"])
        return subprocess.CompletedProcess(words, 0, report, "")

    monkeypatch.setattr(panlabel, "find_program", lambda: "panlabel")
    monkeypatch.setattr(panlabel.subprocess, "run", run)


def error_of(arguments, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def test_a_conversion_ends_in_our_validation(folder, stub, capsys):
    main(convert(folder))
    said = capsys.readouterr().out
    assert "no problems found" in said
    assert f"data.train_json={folder.root}/data.json data.train_images={folder.root}" in said
    (folder.root / "a.png").unlink()
    with pytest.raises(SystemExit, match="1"):
        main(convert(folder))
    assert "data.json: written, with the errors above" in capsys.readouterr().out


def test_pseudo_labels_stay_pseudo_labels(folder, stub):
    source, target = folder.root / "pseudo.json", folder.root / "data.json"
    content = json.loads((folder.root / "source.json").read_text())
    info = PseudoLabels("teacher.pth").coco([], [], {})["info"]
    source.write_text(json.dumps(content | {"info": info}))
    main([str(source), str(target)])
    assert json.loads(target.read_text()) == content | {"info": info}
    source.write_text("{}\n{}\n")  # json lines, of another program
    main([str(source), str(target)])
    assert json.loads(target.read_text()) == content


def test_what_would_be_lost_is_refused_unless_allowed(folder, stub, capsys):
    line = error_of(convert(folder, "--from", "lossy"), capsys)
    assert "cannot hold all of it: 1 annotation(s) have attributes: --allow-lossy" in line
    assert not (folder.root / "data.json").exists()
    main(convert(folder, "--from", "lossy", "--allow-lossy"))
    assert "lost: 1 annotation(s) have attributes" in capsys.readouterr().out


def test_what_cannot_be_converted_is_one_line(folder, stub, capsys, monkeypatch):
    line = error_of(convert(folder, "--from", "none"), capsys)
    assert line.endswith("source.xml: panlabel cannot convert it: no such format")
    assert "expected the name of a .json" in error_of([*convert(folder)[:1], "x"], capsys)
    assert "no such file or folder" in error_of(["/nowhere", "x.json"], capsys)
    monkeypatch.setattr(panlabel, "find_program", lambda: None)
    line = error_of(convert(folder), capsys)
    assert "is not installed: pip install 'lowres-d2[data]'" in line


@pytest.mark.skipif(not INSTALLED, reason="the extra lowres-d2[data] is not installed")
def test_labelme_is_converted(folder, capsys):
    shape = {"label": "cat", "points": [[10, 20], [30, 40]], "shape_type": "rectangle"}
    content = {"version": "5.0", "shapes": [shape], "imagePath": "a.png"}
    folder.image("labelme/a.png")
    folder.text("labelme/a.json", json.dumps(content | {"imageHeight": 40, "imageWidth": 80}))
    target = folder.root / "data.json"
    main([str(folder.root / "labelme"), str(target)])
    found = json.loads(target.read_text())
    assert [entry["bbox"] for entry in found["annotations"]] == [[10, 20, 20, 20]]
    assert found["categories"] == [{"id": 1, "name": "cat"}]
