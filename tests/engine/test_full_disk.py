"""A full disk is named with the file that did not fit, and ends a run only where it must.

``/dev/full`` stands for a file on such a disk: it takes no byte.
"""

import errno
import io
import logging
import os
import sys
import threading
from pathlib import Path

from lowres_d2.atomic import atomic_path
from lowres_d2.engine.hooks.writers import LastingWriter, without_writers_tracebacks
from lowres_d2.engine.processes.log_files import logging_to, open_log_files
from lowres_d2.engine.run_folder import save_config
from lowres_d2.programs.mistakes import one_line

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage, JSONWriter, TensorboardXWriter
from omegaconf import OmegaConf
from PIL import Image

from toys.one_line_errors import error_of

FULL = Path("/dev/full")
NO_SPACE = os.strerror(errno.ENOSPC)

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def write_text(part):
    part.write_text("x" * 100_000)


def save_tensors(part):
    torch.save({"model": torch.zeros(1000)}, part)


def save_tensors_into_a_file(part):
    with part.open("wb") as file:
        torch.save({"model": torch.zeros(1000)}, file)


def save_image(part):
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(part)


def raise_plainly(part):
    raise OSError(errno.ENOSPC, NO_SPACE)


WRITERS = [write_text, save_tensors, save_tensors_into_a_file, save_image, raise_plainly]


@pytest.mark.parametrize("suffix", ["json", "pth", "png", "jpg"])
@pytest.mark.parametrize(
    "write", [write_text, save_tensors, save_tensors_into_a_file, save_image, raise_plainly]
)
def test_the_target_is_named_whatever_the_writer_says(tmp_path, write, suffix):
    if write is save_image and suffix not in ("png", "jpg"):
        suffix = "bmp"
    target = tmp_path / f"result.{suffix}"
    target.write_text("before")
    with pytest.raises(OSError) as caught, atomic_path(target) as part:
        part.symlink_to(FULL)
        write(part)
    line = one_line(caught.value)
    assert line.startswith(f"{target}: ") and "\n" not in line
    assert NO_SPACE in line or "is the disk full?" in line
    assert "free disk space" in line or "is the disk full?" in line
    assert target.read_text() == "before" and os.listdir(tmp_path) == [target.name]


def test_a_folder_that_cannot_be_made_and_a_part_that_cannot_be_opened_name_the_target(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "x.json", tmp_path / "n" / ("x" * 300)):
        with pytest.raises(OSError) as caught, atomic_path(target) as part:
            part.write_text("x")
        assert ".part" not in one_line(caught.value)
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"), atomic_path(tmp_path / "x"):
        (tmp_path / "absent.txt").read_text()  # an error of something else stays as it is


def test_a_config_that_does_not_fit_is_named_as_such(tmp_path, caplog):
    (tmp_path / f".config.{os.getpid()}.part.yaml").symlink_to(FULL)
    with pytest.raises(OSError) as caught:
        save_config(OmegaConf.create({"train": {"max_iter": 1}}), tmp_path)
    assert one_line(caught.value).startswith(f"{tmp_path / 'config.yaml'}: {NO_SPACE}")
    assert not caplog.text and not os.listdir(tmp_path)


def test_a_last_checkpoint_that_does_not_fit_is_said_though_the_results_do_not_either(
    toy_arguments, monkeypatch, capsys
):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, NO_SPACE)

    monkeypatch.setattr(torch, "save", fail)
    monkeypatch.setattr("lowres_d2.engine.evaluate.write_evaluation", fail)
    line = error_of([*toy_arguments, "train.max_iter=1"], capsys)
    assert f"model_final.pth could not be written ({NO_SPACE}); there is no earlier" in line
    assert line.endswith("then start again")


def test_a_log_that_does_not_fit_is_said_once_and_the_screen_goes_on(tmp_path, capsys):
    (tmp_path / "log.txt").symlink_to(FULL)
    with logging_to(tmp_path):
        open_log_files()
        for k in range(3):
            logging.getLogger("lowres_d2").info("line %d", k)
    said = capsys.readouterr()
    assert said.out.splitlines() == ["line 0", "line 1", "line 2"]
    assert said.err.count("\n") == 1
    assert f"{tmp_path / 'log.txt'} cannot be written ({NO_SPACE})" in said.err


def test_a_screen_that_is_a_file_on_a_full_disk_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(FULL.open("wb", buffering=0)))
    with logging_to(tmp_path):
        open_log_files()
        logging.getLogger("lowres_d2").info("é is a letter")
    assert "é is a letter" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_lines_of_a_start_are_kept_until_the_log_is_opened(tmp_path):
    with logging_to(tmp_path / "run"):
        logging.getLogger("lowres_d2").info("first")
    assert not (tmp_path / "run").exists()
    with logging_to(tmp_path / "new"):
        logging.getLogger("lowres_d2").info("first")
        open_log_files()
        logging.getLogger("lowres_d2").info("second")
    text = (tmp_path / "new" / "log.txt").read_text()
    assert [line.rpartition(": ")[2] for line in text.splitlines()] == ["first", "second"]


def json_writer(folder):
    (folder / "metrics.json").symlink_to(FULL)
    return JSONWriter(str(folder / "metrics.json"))


def tensorboard_writer(folder):
    writer = TensorboardXWriter(str(folder), flush_secs=0)
    # TensorBoard chooses its file's name; the file is exchanged once it is there.
    file = writer._writer.file_writer.event_writer._general_file_writer
    writer._writer.flush()
    (folder / "events").symlink_to(FULL)
    file.filename = str(folder / "events")
    file.write = file.flush = lambda *_: FULL.write_text("x" * 9999)
    return writer


@pytest.mark.parametrize("make", [json_writer, tensorboard_writer])
def test_curves_that_do_not_fit_are_said_once(tmp_path, make, caplog, capfd):
    writer = LastingWriter(make(tmp_path), tmp_path / "file")
    quiet = without_writers_tracebacks()
    with quiet, caplog.at_level(logging.WARNING), EventStorage(0) as storage:
        for _ in range(4):
            storage.put_scalar("loss", 1.0)
            writer.write()
            storage.step()
        writer.close()
    assert [m for m in caplog.messages if NO_SPACE in m] == [
        f"{tmp_path / 'file'} cannot be written ({NO_SPACE}): a part of the curves is lost; free "
        "disk space"
    ]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("retries", "attempts"), [(True, 3), (False, 1)])
def test_a_writer_that_begins_a_new_file_each_time_is_not_tried_again(tmp_path, retries, attempts):
    class Writer:
        attempts = 0

        def write(self):
            self.attempts += 1
            raise OSError(errno.ENOSPC, NO_SPACE)

        def close(self):
            pass

    writer = Writer()
    lasting = LastingWriter(writer, tmp_path / "file", retries=retries)
    for _ in range(3):
        lasting.write()
    lasting.close()
    assert writer.attempts == attempts


def test_errors_of_other_threads_are_printed_while_a_run_writes(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    before = threading.excepthook

    def fail():
        raise OSError(errno.ENOSPC, NO_SPACE)

    class WriterThread(threading.Thread):
        """A thread of TensorBoard's."""

    WriterThread.__module__ = "tensorboard.summary.writer.event_file_writer"
    for kind, errors in ((WriterThread, 0), (threading.Thread, 1)):
        # A run in a run: a teacher's training.
        with without_writers_tracebacks(), without_writers_tracebacks():
            thread = kind(target=fail)
            thread.start()
            thread.join()
        assert len(told) == errors and threading.excepthook is before


def test_a_run_leaves_the_hook_for_threads_as_it_was(tmp_path):
    before = threading.excepthook
    with EventStorage(0):
        for writer in [LastingWriter(JSONWriter(str(tmp_path / f"{k}")), tmp_path) for k in "ab"]:
            writer.write()
            writer.close()
    assert threading.excepthook is before
