"""Text on the screen, in log files and in names of files never ends a program."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from lowres_d2.engine.processes.log_files import logging_to, open_log_files
from lowres_d2.programs.command import main as command
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.screen import print_any_text
from lowres_d2.programs.train import main as train
from lowres_d2.programs.visualize import open_run

import pytest

from toys.data import write_coco
from toys.runs import PLAIN

NAMES = ("螺栓", "나사")
ODD = "x\udcff图"  # a name of bytes that are no text, and letters that few encodings have
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WINDOWS = {"PYTHONIOENCODING": "cp1252"}
PRINTS = "from lowres_d2.programs.screen import print_any_text; print_any_text(); print('\\u87ba')"


@pytest.fixture(scope="module")
def odd_json(tmp_path_factory):
    """A data set with such class names, one of whose images has such a name."""
    file = write_coco(tmp_path_factory.mktemp("odd"))
    data = json.loads(file.read_text())
    for category, name in zip(data["categories"], NAMES, strict=True):
        category["name"] = name
    image = next(file.parent.rglob(data["images"][0]["file_name"]))
    # Named by bytes, which is what file systems hold.
    os.rename(image, os.fsencode(image.parent) + b"/x\xff.png")
    data["images"][0]["file_name"] = "x\udcff.png"
    file.write_text(json.dumps(data))
    return file


def test_a_program_prints_any_text(odd_json):
    done = subprocess.run(
        [sys.executable, "-m", "lowres_d2", "validate", "--annotations", str(odd_json)],
        capture_output=True,
        env=os.environ | ASCII,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert NAMES[0].encode("ascii", "backslashreplace") in done.stdout


@pytest.mark.parametrize("encoding", [WINDOWS, ASCII], ids=["cp1252", "C"])
def test_a_screen_takes_any_text(encoding):
    command = [sys.executable, "-c", PRINTS]
    done = subprocess.run(command, capture_output=True, env=os.environ | encoding)
    assert (done.stdout.strip(), done.stderr) == (rb"\u87ba", b"")


def test_every_program_starts_with_a_screen_for_any_text(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    command(["recipes", "plates"])
    assert sys.stdout.errors == "backslashreplace"
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    run_reporting_mistakes(lambda: print(ODD))
    assert sys.stdout.errors == "backslashreplace"


def test_a_run_logs_any_text(odd_json, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "cp1252"))
    arguments = ["--config-file", PLAIN, f"data.train_json={odd_json}", "train.device=cpu"]
    arguments += [f"data.val_json={odd_json}", f"train.output_dir={tmp_path}", "train.max_iter=1"]
    train([*arguments, "dataloader.train.num_workers=0", "dataloader.test.num_workers=0"])
    sys.stdout.flush()
    assert NAMES[0].encode("ascii", "backslashreplace") in sys.stdout.buffer.getvalue()
    assert NAMES[0] in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_screens_of_every_encoding(monkeypatch):
    for encoding, shown in (("cp1252", rb"x\udcff\u56fe"), ("utf-8", rb"x\udcff" + "图".encode())):
        screen = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(screen, encoding))
        print_any_text()
        print(ODD, end="", flush=True)
        assert screen.getvalue() == shown


def test_log_files_are_utf8_whatever_the_text(tmp_path, monkeypatch):
    # pytest's own handlers would send such text to xdist, which cannot take it.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    (tmp_path / ODD).mkdir()
    with logging_to(tmp_path / ODD):
        open_log_files()
        logging.getLogger("test").info("%s", ODD)
    assert r"x\udcff图" in (tmp_path / ODD / "log.txt").read_text(encoding="utf-8")


def test_names_of_runs_in_figures_are_text(coco_json, tmp_path):
    data = [f"data.train_json={coco_json}", f"data.val_json={coco_json}", "train.device=cpu"]
    run = open_run(f"{ODD}={PLAIN}", Path(tmp_path, ODD), data)
    assert run.name == r"x\udcff图"
    assert run.folders[-1].is_relative_to(tmp_path / ODD)
