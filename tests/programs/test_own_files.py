"""No program writes over a file that it, or an earlier run of it, did not write."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lowres_d2.own_files import LIST, check_own, own_path
from lowres_d2.programs.command import main
from lowres_d2.programs.extract import extract_detector

import numpy as np
import pytest
from PIL import Image

from toys.runs import PLAIN

MINE = b"mine"
MESSAGE = "exists, and no earlier run wrote it"


def write(path, text):
    with own_path(path) as part:
        part.write_text(text)


def test_what_was_written_is_written_again(tmp_path):
    for text in ("one", "two", "two", "one"):
        write(tmp_path / "new" / "report.md", text)
        assert (tmp_path / "new" / "report.md").read_text() == text
    assert len((tmp_path / "new" / LIST).read_text().splitlines()) == 2


def test_names_that_are_no_text_are_written_again(tmp_path):
    for name in ("a\nb.txt", "a\udcff.txt", "图.txt", 'a"b.txt'):
        write(tmp_path / name, "one")
        write(tmp_path / name, "two")
        assert (tmp_path / name).read_text() == "two"


def test_a_moved_folder_is_still_ours(tmp_path):
    write(tmp_path / "a" / "report.md", "one")
    shutil.move(tmp_path / "a", tmp_path / "b")
    write(tmp_path / "b" / "report.md", "two")
    assert (tmp_path / "b" / "report.md").read_text() == "two"


def foreign(path):
    path.write_bytes(MINE)


def changed(path):
    write(path, "ours")
    path.write_bytes(MINE)


def copied(path):
    """The user keeps a result under another name."""
    write(path.with_name("first"), MINE.decode())
    shutil.copy(path.with_name("first"), path)


def link(path):
    path.with_name("first").write_bytes(MINE)
    path.symlink_to(path.with_name("first"))


@pytest.mark.parametrize("make", [foreign, changed, copied, link])
def test_a_file_of_the_user_stays(tmp_path, make):
    make(tmp_path / "report.md")
    with pytest.raises(FileExistsError, match=r"report\.md: exists"):
        write(tmp_path / "report.md", "ours")
    assert (tmp_path / "report.md").read_bytes() == MINE


def test_a_link_that_leads_nowhere_and_a_folder_stay(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    for name, message in (("link", MESSAGE), ("folder", "is a folder")):
        with pytest.raises(FileExistsError, match=message):
            check_own([tmp_path / "free", tmp_path / name])


def test_a_folder_that_takes_no_files_is_said_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        for folder in (tmp_path / name, tmp_path / name / "a" / "b"):
            words = re.escape(f"{folder} cannot be written to ({tmp_path / name} is no folder)")
            with pytest.raises(OSError, match=words):
                check_own([tmp_path / "free.md", folder / "report.md"])
    check_own([tmp_path / "new" / "folder" / "report.md"])
    assert not (tmp_path / "new").exists()
    # As for a user whom the folder refuses; the tests may run as root, whom none does.
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != tmp_path)
    with pytest.raises(OSError, match=rf"\(no permission to write into {tmp_path}\)"):
        check_own([tmp_path / "new" / "report.md"])


DEMO = ["demo", "--config-file", PLAIN, "--weights", "none.pth", "--input", "{in}/a.png"]
VISUALIZE = ["visualize", "thumbnails", "--runs", PLAIN, "--output", "{out}"]
PROGRAMS = [
    ([*DEMO, "--output", "{out}/b.png"], "b.png"),
    ([*DEMO, "--output", "{out}/b.png"], "b.json"),
    ([*DEMO, "--output", "{out}"], "a.png"),
    ([*DEMO, "--output", "{out}"], "detections.json"),
    (VISUALIZE, "thumbnails.png"),
    (["extract", "none.pth", "{out}/w.pth"], "w.pth"),
    (["convert-deformable-detr", PLAIN, "none.pth", "{out}/w.pth"], "w.pth"),
    (["make-models", "--output", "{out}"], "thumbdet4.safetensors"),
    (["make-plates", "--sheet", "{out}/sheet.png"], "sheet.png"),
    (["validate", "--annotations", "a.json", "--json-report", "{out}/a.json"], "a.json"),
    (["validate", "--annotations", "a.json", "--sheet", "{out}/a.png"], "a.png"),
    (["prepare-tt100k", "--root", "{out}", "--coco"], "tt100k_train.json"),
    (["quickstart", "--output", "{out}"], "images.png"),
    (["reproduce", "thumbdet", "--output", "{out}"], "thumbnails.png"),
    (["reproduce", "feature_sr", "--output", "{out}"], "seed1/report.md"),
    (
        ["sweep", "--config-file", PLAIN, "train.output_dir={out}", "train.init_checkpoint=w.pth"],
        "sweep.json",
    ),
]


def test_extracting_over_the_checkpoint_that_is_read_is_refused(trained):
    before = trained.file.read_bytes()
    with pytest.raises(ValueError, match="is the checkpoint that is read: choose another OUTPUT"):
        extract_detector(trained.file, trained.folder / ".." / "run" / trained.file.name)
    assert trained.file.read_bytes() == before


@pytest.mark.parametrize(("arguments", "name"), PROGRAMS, ids=lambda value: str(value)[:40])
def test_every_program_says_so_before_it_works(tmp_path, monkeypatch, capsys, arguments, name):
    monkeypatch.setattr("sys.argv", [])  # which the command names after the program
    inputs, output = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(inputs / "a.png")
    (output / name).parent.mkdir(parents=True)
    (output / name).write_bytes(MINE)
    folders = {"in": inputs, "out": output}
    with pytest.raises(SystemExit) as stop:
        main([argument.format(**folders) for argument in arguments])
    line = capsys.readouterr().err.strip()
    assert stop.value.code == 1 and "\n" not in line
    assert line.startswith(f"error: {output / name}: {MESSAGE[:6]}")
    assert (output / name).read_bytes() == MINE
    others = [path for path in output.rglob("*.*") if path.name != "log.txt"]
    assert others == [output / name]
