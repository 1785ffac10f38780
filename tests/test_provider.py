import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
WHOLE_UPSTREAM = {
    "config/lazy.py": "class LazyConfig: ...\nLazyCall = 0",
    "layers/losses.py": "ciou_loss = diou_loss = 0",
    "layers/wrappers.py": "move_device_like = 0",
    "modeling/meta_arch/dense_detector.py": "class DenseDetector: ...",
    "modeling/meta_arch/fcos.py": "FCOS = FCOSHead = 0  # _match_anchors compute_ctrness_targets",
    "engine/train_loop.py": "after_backward = 0",
    "engine/hooks.py": "BestCheckpointer = TorchProfiler = 0",
}


def run(code, folder, provider="auto", path=()):
    environment = os.environ | {
        "LOWRES_D2_PROVIDER": provider,
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *path])),
    }
    return subprocess.run(
        # -S leaves site-packages out: an upstream that is installed here must not be found.
        [sys.executable, "-S", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def make_upstream(folder, files):
    package = folder / "detectron2"
    package.mkdir()
    (package / "__init__.py").write_text("whose = 'upstream'")
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return folder


SHOW = "import lowres_d2; print(lowres_d2.detectron2_provider())"


def test_without_upstream_the_bundled_core_runs(tmp_path):
    (tmp_path / "detectron2").mkdir()  # a checkout's folder in the working directory is no package
    assert run(SHOW, tmp_path).stdout == "bundled\n"


def test_an_installed_upstream_wins_and_can_be_overruled(tmp_path):
    path = [make_upstream(tmp_path, WHOLE_UPSTREAM)]
    assert run(SHOW, tmp_path, path=path).stdout == "upstream\n"
    whose = "import lowres_d2, detectron2; print(detectron2.whose)"
    assert run(whose, tmp_path, path=path).stdout == "upstream\n"
    assert run(SHOW, tmp_path, provider="bundled", path=path).stdout == "bundled\n"


def test_child_processes_inherit_the_choice(tmp_path):
    code = (
        f"import lowres_d2, subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {SHOW!r}])"
    )
    path = [make_upstream(tmp_path, WHOLE_UPSTREAM)]
    assert run(code, tmp_path, provider="bundled", path=path).stdout == "bundled\n"


@pytest.mark.parametrize(
    ("provider", "files", "words"),
    [
        ("upstreem", None, "expected auto, upstream or bundled"),
        ("upstream", None, "no Detectron2 is installed here"),
        (
            "auto",
            WHOLE_UPSTREAM | {"layers/wrappers.py": ""},
            "layers/wrappers.py:move_device_like",
        ),
    ],
)
def test_a_provider_that_cannot_run_is_named_at_import(tmp_path, provider, files, words):
    path = [make_upstream(tmp_path, files)] if files else []
    done = run(SHOW, tmp_path, provider=provider, path=path)
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]


def test_the_core_refuses_a_second_name(tmp_path):
    done = run("import lowres_d2.bundled.detectron2", tmp_path)
    assert "must not be imported by this name" in done.stderr.splitlines()[-1]


def test_an_upstream_imported_first_is_refused(tmp_path):
    path = [make_upstream(tmp_path, WHOLE_UPSTREAM)]
    done = run("import detectron2, lowres_d2", tmp_path, provider="bundled", path=path)
    assert "write `import lowres_d2` before it" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "version"),
    # Newest ones below the limits of upstream's setup.py: iopath<0.1.10, fvcore<0.1.6,
    # omegaconf<2.4.
    [("iopath", "0.1.9"), ("fvcore", "0.1.5.post20221221"), ("omegaconf", "2.3.0")],
)
def test_requirements_can_be_met_beside_upstream(name, version):
    required = re.search(rf'^  "{name}([^"]+)",$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert SpecifierSet(required[1]).contains(version)
