import errno
import json
import logging
import os
import shutil

from lowres_d2.engine.checkpoint import CheckpointNotWrittenError, RunCheckpointer, RunState
from lowres_d2.programs.train import main

import pytest
import torch
from torch import nn


class Iteration:
    """The part of a trainer's state that these tests use."""

    def __init__(self):
        self.value = -1

    def state_dict(self):
        return {"iteration": self.value}

    def load_state_dict(self, state):
        self.value = state["iteration"]


def checkpointer(folder, data="abc"):
    model = nn.Linear(40, 50)
    return RunCheckpointer(model, str(folder), trainer=Iteration(), run=RunState(model, data))


def save(saver, *iterations):
    for iteration in iterations:
        nn.init.constant_(saver.model.weight, iteration)
        saver.checkpointables["trainer"].value = iteration
        saver.save(f"model_{iteration:07d}")


def resumed(folder, **kwargs):
    saver = checkpointer(folder, **kwargs)
    if not saver.resume():
        return None
    iteration = saver.checkpointables["trainer"].value
    assert torch.all(saver.model.weight == iteration)
    return iteration


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    place = content.index(torch.full((40 * 50,), 9.0).numpy().tobytes()) + 4000
    content[place] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("ruin", [truncate, flip_a_bit, empty, os.remove])
def test_with_a_broken_last_checkpoint_the_newest_intact_one_is_resumed(tmp_path, caplog, ruin):
    save(checkpointer(tmp_path), 1, 10, 9)
    (tmp_path / ".model_0000020.1.part.pth").write_bytes(
        (tmp_path / "model_0000010.pth").read_bytes()
    )
    torch.save({"model": {"weight": torch.zeros(1)}}, tmp_path / "non_finite_0000012.pth")
    ruin(tmp_path / "model_0000009.pth")
    with caplog.at_level(logging.WARNING):
        assert resumed(tmp_path) == 10
    (line,) = caplog.messages
    assert "model_0000009.pth" in line and "model_0000010.pth (iteration 10)" in line
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000010.pth"
    assert resumed(tmp_path) == 10
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("pointer", [None, "", "model_0000003.pth"])
def test_last_checkpoint_is_missing_or_names_no_file(tmp_path, pointer):
    save(checkpointer(tmp_path), 1, 2)
    (tmp_path / "last_checkpoint").unlink()
    if pointer is not None:
        (tmp_path / "last_checkpoint").write_text(pointer)
    assert resumed(tmp_path) == 2


def test_no_checkpoint_and_no_intact_checkpoint_are_distinguished(tmp_path):
    assert resumed(tmp_path) is None
    save(checkpointer(tmp_path), 1)
    truncate(tmp_path / "model_0000001.pth")
    with pytest.raises(ValueError, match=r"model_0000001\.pth is damaged.*no other checkpoint in"):
        resumed(tmp_path)


def test_an_intact_checkpoint_of_other_data_is_refused_and_not_skipped(tmp_path):
    save(checkpointer(tmp_path), 1, 2)
    with pytest.raises(ValueError, match=r"model_0000002\.pth .*other data"):
        resumed(tmp_path, data="xyz")


def check_previous_checkpoint(folder, message):
    assert "\n" not in message
    assert "model_0000002.pth could not be written" in message
    assert "the previous checkpoint " in message and "model_0000001.pth is intact" in message
    assert {p.name for p in folder.iterdir()} == {"model_0000001.pth", "last_checkpoint"}
    assert resumed(folder) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_or_read_only_folder_leaves_the_previous_one(tmp_path, monkeypatch, number):
    saver = checkpointer(tmp_path)
    save(saver, 1)

    def write(data, file):
        file.write(b"half")
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", write)
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            save(saver, 2)
    check_previous_checkpoint(tmp_path, str(caught.value))


def test_without_an_earlier_checkpoint_there_is_nothing_to_resume(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        CheckpointNotWrittenError, match=r"no earlier checkpoint.* then start again"
    ):
        save(checkpointer(tmp_path / "file"), 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a limit that a child process sets")
def test_a_real_limit_on_the_size_of_files_leaves_the_previous_one(tmp_path):
    import resource

    saver = checkpointer(tmp_path)
    save(saver, 1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
            save(saver, 2)
        except OSError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    message = os.read(read, 10000).decode()
    os.close(read)
    check_previous_checkpoint(tmp_path, message)
    assert os.strerror(errno.EFBIG) in message


def test_a_deleted_output_folder_is_created_again(tmp_path, caplog):
    folder = tmp_path / "run"
    saver = checkpointer(folder)
    save(saver, 1)
    shutil.rmtree(folder)
    with caplog.at_level(logging.WARNING):
        save(saver, 2)
    assert f"{folder} was deleted during the run" in caplog.text
    assert resumed(folder) == 2


def test_missing_images_stop_the_run_which_resumes_when_they_are_back(
    toy_arguments, tmp_path, coco_json, monkeypatch, capsys
):
    images, away = tmp_path / "images", tmp_path / "away"
    shutil.copytree(coco_json.parent / "images", images)
    arguments = [*toy_arguments, f"data.train_images={images}"]
    whole = RunCheckpointer.save

    def save_and_lose(self, name, **kwargs):
        whole(self, name, **kwargs)
        images.rename(away)

    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpointer, "save", save_and_lose)
        with pytest.raises(SystemExit):
            main(arguments)
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert str(images) in line and "no such image" in line
    away.rename(images)
    main(["--resume", *arguments])
    final = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    assert final["trainer"]["iteration"] == 5
    lines = (tmp_path / "run" / "metrics.json").read_text().splitlines()
    assert {1, 3, 5} <= {json.loads(x)["iteration"] for x in lines}
