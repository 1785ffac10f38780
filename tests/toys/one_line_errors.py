"""Runs of the command line in this process that must fail with an error of one line."""

from pathlib import Path

from lowres_d2.programs.train import main

import pytest

SAVED = ("*.pth", "last_checkpoint")  # files that a run must not lose


def error_of(arguments, capsys):
    """Run, expect exit code 1 and no traceback, and return the error's one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, arguments)))
    assert caught.value.code == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, said.err
    return lines[0]


def saved_files(folder):
    """Checkpoints and weights that a run has written below a folder, with their contents."""
    return {
        path: path.read_bytes()
        for pattern in SAVED
        for path in Path(folder).rglob(pattern)
        if path.is_file() and not path.name.startswith(("non_finite", "."))
    }
