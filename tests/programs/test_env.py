import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from lowres_d2.programs.env import main as env

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def test_report_of_the_environment_is_one_page():
    command = [sys.executable, "-m", "lowres_d2", "env"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("lowres_d2 ") and lines[0].endswith("Detectron2")
    assert len(lines) < 60 and "MISSING" not in done.stdout
    # Upstream's report imports what warns of a CUDA toolkit without a GPU.
    assert all("No CUDA runtime is found" in line for line in done.stderr.splitlines())
    rows = [line.split() for line in lines]
    assert ["torch", ">=2.6", metadata.version("torch")] in rows
    assert any(
        row[:2] in (["torch", torch.__version__], ["PyTorch", torch.__version__]) for row in rows
    )


def test_a_package_has_one_version(capsys):
    env([])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    named = [row for row in rows if row[:1] == ["pycocotools"]]
    assert {word for row in named for word in row} >= {metadata.version("pycocotools")}
    assert all(metadata.version("pycocotools") in row for row in named)


@pytest.mark.parametrize(
    ("command", "provider", "said"),
    [
        (["-m", "lowres_d2", "env"], "mine", "LOWRES_D2_PROVIDER='mine': expected auto, upstream"),
        (["train_net.py"], "mine", "LOWRES_D2_PROVIDER='mine': expected auto, upstream"),
        # -S leaves site-packages out, and an installed upstream with it.
        (["-S", "-m", "lowres_d2", "env"], "upstream", "no Detectron2 is installed here"),
    ],
)
def test_a_wrong_provider_is_an_error_of_one_line(command, provider, said):
    # An upstream may be on the path of this process, too.
    variables = os.environ | {"LOWRES_D2_PROVIDER": provider, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_provider_is_an_exception_of_the_import():
    variables = os.environ | {"LOWRES_D2_PROVIDER": "mine"}
    code = "try:\n import lowres_d2\nexcept ValueError as error:\n print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert done.stdout.startswith("LOWRES_D2_PROVIDER='mine'")
