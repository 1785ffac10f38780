"""Five detectors on weights made by a formula give what upstream Detectron2 gave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lowres_d2

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT.parent / "shared" / "golden"


@pytest.mark.slow
@pytest.mark.skipif(
    not (FOLDER / "d2_models.pt").is_file(), reason=f"no results of upstream in {FOLDER}"
)
def test_five_detectors_give_what_upstream_gave():
    environment = {
        **os.environ,
        "LOWRES_D2_PROVIDER": lowres_d2.detectron2_provider(),
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(FOLDER / "d2_models.py"), "check"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.stdout.splitlines()[-1:] == ["5 of 5 detectors equal upstream"], (
        run.stdout + run.stderr
    )
    assert run.returncode == 0
