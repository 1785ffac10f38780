"""Two runs whose detectors find something, and the page that serves them, as a process."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from toys.runs import ANY_FACTOR, PLAIN
from toys.trained import write_untrained_run

SURE = 4.0  # of random weights: dozens of their detections then have scores over 0.3


@dataclass(frozen=True)
class Served:
    """A page that is served: its process, its address, and the folder of its uploads."""

    process: subprocess.Popen
    address: str
    temporary: Path


@pytest.fixture(scope="session")
def page_runs(coco_json, tmp_path_factory):
    """Folders of runs by title: thumbnails of resized images, and any factor of the image."""
    folder = tmp_path_factory.mktemp("page_runs")
    bicubic, _ = write_untrained_run(folder / "bicubic", coco_json, sure=SURE)
    any_factor, _ = write_untrained_run(
        folder / "any",
        coco_json,
        recipe=PLAIN,
        overrides=[*ANY_FACTOR, "dataloader.test.mapper.augmentations=[]"],
        sure=SURE,
    )
    return {"Thumbnails": bicubic, "<b>Any": any_factor}


@pytest.fixture(scope="session")
def served(page_runs, tmp_path_factory):
    """The page, behind a proxy that leads nowhere: it must need none."""
    pytest.importorskip("gradio")
    temporary = tmp_path_factory.mktemp("page_uploads")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    models = [f"{title}={folder}" for title, folder in page_runs.items()]
    process = subprocess.Popen(
        [sys.executable, "demo/app.py", "--model", *models],
        env=os.environ | nowhere | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    found = re.fullmatch(r"the page is at (http://127\.0\.0\.1:\d+/) until Ctrl-C\n", line)
    assert found, line + process.communicate()[1]
    yield Served(process, found[1], temporary)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not [*temporary.glob("lowres_d2_page_*")]  # no upload is left behind
