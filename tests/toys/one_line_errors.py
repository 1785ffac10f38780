"""Runs of the command line in this process, whose mistakes are to end in one line."""

from pathlib import Path

from lowres_d2.programs.train import main

import pytest

SAVED = ("*.pth", "last_checkpoint")  # what a run must not lose


def error_of(arguments, capsys):
    """Run, expect exit code 1 and no traceback, and return the one line that says why."""
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
    """Everything a run has saved below a folder, with its contents."""
    return {
        path: path.read_bytes()
        for pattern in SAVED
        for path in Path(folder).rglob(pattern)
        if path.is_file() and not path.name.startswith(("non_finite", "."))
    }
