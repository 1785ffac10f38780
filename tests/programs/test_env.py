import subprocess
import sys
from importlib import metadata

import torch


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
