from __future__ import annotations

import argparse
from functools import partial

from lowres_d2.programs.crop import main as crop
from lowres_d2.programs.key_values import move_overrides, number_or_change
from lowres_d2.programs.quickstart import main as quickstart
from lowres_d2.programs.receptive_field import main as receptive_field
from lowres_d2.programs.sweep import main as sweep
from lowres_d2.programs.validate import main as validate

import pytest

RECIPE = "configs/quick/full_fcos_small_256_plates.py"


def with_output(program, arguments):
    program(["--output", "none", *arguments])


def test_words_that_change_keys_leave_arguments_of_several_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.b=c").write_text("")  # a file
    words = ["x.jpg", "train.device=cpu", "name=run", "a.b=c", "+model.new.key=1", "d/x=1.jpg"]
    args = argparse.Namespace(opts=["train.seed=1"], files=words, more=["y", "a.c="], none=None)
    move_overrides(args, "files", "more", "none")
    assert args.files == ["x.jpg", "name=run", "a.b=c", "d/x=1.jpg"]
    assert args.more == ["y"] and args.none == []
    assert args.opts == ["train.seed=1", "train.device=cpu", "+model.new.key=1", "a.c="]


@pytest.mark.parametrize(
    ("program", "option", "values"),
    [
        (receptive_field, "--widths", ["4", "8"]),
        (sweep, "--factors", ["1", "2"]),
        (partial(with_output, crop), "--size", ["640", "512"]),
        (validate, "--size-limits", ["8", "16.5"]),
    ],
)
def test_programs_take_changes_behind_such_an_argument(capsys, program, option, values):
    """An unknown key is named: it got there."""
    for words in ([option, *values, "train.nothing=1"], ["train.nothing=1", option, *values]):
        with pytest.raises(SystemExit, match="1"):
            program(["--config-file", RECIPE, *words])
        assert "train.nothing" in capsys.readouterr().err


def test_words_are_numbers_or_changes():
    read = number_or_change(int)
    assert read("640") == 640 and read("train.seed=1") == "train.seed=1"
    with pytest.raises(ValueError, match="wide"):
        read("wide")


@pytest.mark.parametrize("program", [crop, quickstart, validate])
def test_flags_may_stand_behind_changes(program, tmp_path, capsys):
    recipe = [] if program is quickstart else ["--config-file", RECIPE]
    flag = ["--no-images"] if program is validate else ["--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="1"):
        program([*recipe, "train.seed=1", *flag, "train.nothing=1"])
    assert "train.nothing" in capsys.readouterr().err


def test_widths_that_are_no_numbers_are_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        receptive_field(["--config-file", RECIPE, "--widths", "4", "wide"])
    assert "--widths: invalid int value: 'wide'" in capsys.readouterr().err
