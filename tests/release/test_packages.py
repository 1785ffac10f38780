"""The wheel and the sdist: what they hold, and that the wheel alone works in a new environment."""

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import lowres_d2
from lowres_d2.data.plates import PlatesDataset

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = f"lowres_d2-{lowres_d2.__version__}"
PLATES = "quick/full_fcos_small_256_plates.py"
SHORT = [
    "train.max_iter=2",
    "train.eval_period=0",
    "train.device=cpu",
    "dataloader.train.dataset.num_images=4",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.dataset.num_images=2",
    "dataloader.test.num_workers=0",
]
# In one process, which imports torch once.
DETECT = """
import sys
import lowres_d2
from lowres_d2.programs.command import main
image = sys.argv[1]
main(["demo", "--weights", "full", "--input", image, "--output", "found.png"])
main(["export", "full", "--output", "full.onnx", "--images", image])
print(*lowres_d2.models())
for detector in ("full", "full.onnx"):
    print(len(lowres_d2.load(detector)(image, score=0.5)))
"""
MB = 1e6

pytestmark = pytest.mark.slow


def build(output, *kinds):
    """Build distributions of the checkout, as ``make dist`` does."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), *kinds]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return output


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Folder of the sdist, and of the wheel that was built from it."""
    return build(tmp_path_factory.mktemp("dist"))


def tracked(*folders):
    """Files that git knows, by their path in the checkout."""
    command = ["git", "ls-files", *folders]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {name for name in done.stdout.splitlines() if (ROOT / name).is_file()}


def inside(name):
    """Where the wheel has a file of the checkout."""
    return name if name.startswith("lowres_d2/") else f"lowres_d2/{name}"


def test_the_packages_hold_what_is_ours_and_nothing_else(dist):
    parts = {*tracked("lowres_d2", "configs", "projects")}
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == {*map(inside, parts)}
    with tarfile.open(dist / f"{NAME}.tar.gz") as sdist:
        held = {name.removeprefix(f"{NAME}/") for name in sdist.getnames()}
    texts = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    assert held == parts | texts | {"pyproject.toml", ".gitignore", "PKG-INFO"}


def test_the_packages_are_small(dist):
    assert {path.name for path in dist.iterdir() if path.stat().st_size > 10 * MB} == set()


def test_the_sdist_builds_the_wheel_of_the_checkout(dist, tmp_path):
    name = f"{NAME}-py3-none-any.whl"
    assert (build(tmp_path, "--wheel") / name).read_bytes() == (dist / name).read_bytes()


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """Run a command of an environment with the wheel, which sees no checkout, in a new folder."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv")
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (packages,) = (folder / "venv").glob("lib/*/site-packages")
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    # Packages of a folder named here are found, but not what an editable install notes in it.
    (packages / "others.pth").write_text("\n".join(others))
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--quiet"]
    wheel = str(dist / f"{NAME}-py3-none-any.whl")
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True)
    environ = {**os.environ, "DETECTRON2_DATASETS": str(folder / "datasets")}
    environ.pop("PYTHONPATH", None)
    work = folder / "work"
    work.mkdir()

    def run(program, *arguments):
        done = subprocess.run(
            [scripts / program, *arguments], cwd=work, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.work = work
    return run


def test_the_installed_package_is_the_wheels(installed):
    file = Path(installed("python", "-c", "import lowres_d2; print(lowres_d2.__file__)").strip())
    assert file.is_relative_to(installed.work.parent / "venv")


def test_the_wheel_lists_its_recipes(installed):
    listed = installed("lowres-d2", "recipes", "--names").split()
    held = {
        name for name in tracked("configs", "projects") if re.search(r"/configs/|^configs/", name)
    }
    recipes = {name for name in held if name.endswith(".py") and "/common/" not in name}
    assert {*listed} == recipes


def test_the_wheel_trains(installed):
    installed("lowres-d2", "train", "--config-file", PLATES, *SHORT, "train.output_dir=run")
    assert (installed.work / "run" / "model_final.pth").is_file()


def test_the_wheels_models_detect_and_are_exported(installed, tmp_path):
    data = PlatesDataset(tmp_path, "test", 1, seed=7, num_workers=0)  # that no model was trained on
    said = installed("python", "-c", DETECT, data[0]["file_name"])
    *_, names, number, exported = said.splitlines()
    (record,) = json.loads((installed.work / "found.json").read_text())
    assert names.split() == [*lowres_d2.models()]
    assert int(number) == int(exported) == len(record["detections"]) > 0
