"""``make dist`` sets up what building needs, and nothing else."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_building_needs_no_environment_of_the_project():
    # As on a machine where .venv is older than pyproject.toml, or is not there.
    command = ["make", "--dry-run", "--what-if=pyproject.toml", "dist"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    installs = [line for line in done.stdout.splitlines() if " install " in line]
    assert [line.split(" install ")[1] for line in installs] == ["--quiet build"]
