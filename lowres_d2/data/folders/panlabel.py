"""Other programs' annotations as COCO json, by the converter panlabel, an optional program."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets.pseudo_labels import labelled_by

NAME = "panlabel"
_EXTRA = "pip install 'lowres-d2[data]'"


def to_coco(source: Path, target: Path, form: str = "auto", allow_lossy: bool = False) -> list[str]:
    """Convert a data set's annotations to a COCO json file.

    Args:
        source: its file or folder.
        target: the file to write, which is not there yet.
        form: name of its format, as panlabel has it; auto: recognised.
        allow_lossy: whether annotations may be converted that COCO's format cannot hold in full.

    Returns:
        What was lost, if ``allow_lossy`` says so.

    Raises:
        ImportError: panlabel is not installed.
        ValueError: it cannot read the source, or what would be lost is not allowed to be.
    """
    program = find_program()
    if program is None:
        raise ImportError(f"{NAME}, which converts annotations, is not installed: {_EXTRA}")
    command = [
        program,
        *("convert", f"--from={form}", "--to=coco", f"--input={source}", f"--output={target}"),
        "--output-format=json",
        *(["--allow-lossy"] if allow_lossy else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    lost = _warnings(done.stdout)
    if done.returncode == 0 and target.is_file():
        _keep_labeller(source, target)
        return lost
    if lost and not allow_lossy:
        raise ValueError(
            f"{source}: COCO's format cannot hold all of it: {'; '.join(lost)}: --allow-lossy "
            "converts it all the same"
        )
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = said[0].removeprefix("Error: ").removeprefix("error: ") if said else "no reason given"
    raise ValueError(f"{source}: {NAME} cannot convert it: {reason}")


def _keep_labeller(source: Path, target: Path) -> None:
    """Say in the target that its objects are a detector's, where a COCO source says so."""
    if source.suffix != ".json" or not source.is_file():
        return
    try:
        given = json.loads(source.read_bytes())
    except ValueError:  # json lines, or another encoding: no COCO file
        return
    if isinstance(given, dict) and labelled_by(given):
        content = json.loads(target.read_bytes())
        target.write_text(json.dumps(content | {"info": given["info"]}), encoding="utf-8")


def find_program() -> str | None:
    """The program beside this Python, or on the path; None: it is not installed."""
    return shutil.which(NAME, path=str(Path(sys.executable).parent)) or shutil.which(NAME)


def _warnings(report: str) -> list[str]:
    """What a report of a conversion warns of."""
    try:
        content: Any = json.loads(report)
        issues = content["issues"]
        return [issue["message"] for issue in issues if issue["severity"] == "warning"]
    except (ValueError, KeyError, TypeError):
        return []
