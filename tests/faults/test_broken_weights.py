"""Broken and malicious weight files: one line says what, where and what to do; none is executed.

Every case runs the command line to its error, which leaves all saved files unchanged.
"""

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save_file

from toys.one_line_errors import error_of, saved_files
from toys.runs import STAGED
from toys.trained import SCORE

REMEDY = "give a .pth, .pkl or .safetensors file of weights"
AGAIN, DAMAGED = "copy or download it again", "is damaged ("


@dataclass(frozen=True)
class Weights:
    """A file of weights.

    Attributes:
        fault: what is wrong with it, for the test's name.
        ending: suffix of its name.
        write: writes it, given the path and the :class:`Trained`.
        words: words of the error, which also names the file.
        flags: flags of the command line; by default training starts from the file.
    """

    fault: str
    ending: str
    write: Callable
    words: str
    flags: tuple = ()


def weights_of(trained):
    return trained.checkpoint()["model"]


def changed(**changes):
    """Writes the checkpoint with a function applied to some of its weights."""

    def write(path, trained):
        state = weights_of(trained)
        for name, value in state.items():
            for part, change in changes.items():
                if part == "all" or name.endswith(part):
                    state[name] = change(value)
        torch.save({"model": state}, path)

    return write


def flip_a_bit(path, trained):
    content = bytearray(trained.file.read_bytes())
    stored = bytes(weights_of(trained)[SCORE].untyped_storage())
    content[content.index(stored) + 6] ^= 1
    path.write_bytes(content)


def cut(path, trained):
    path.write_bytes(trained.file.read_bytes()[:100_000])


def old_and_cut(path, trained):
    torch.save({"model": weights_of(trained)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-1000])


def pickle_and_cut(path, trained):
    arrays = {name: value.numpy() for name, value in weights_of(trained).items()}
    path.write_bytes(pickle.dumps({"model": arrays}, protocol=2)[:-1000])


def header(content, length=None):
    """A safetensors file that has a header only."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return (length or len(text)).to_bytes(8, "little") + text


def tensor_at(*offsets):
    return {"a": {"dtype": "F32", "shape": [10], "data_offsets": offsets}}


def bytes_of(content):
    return lambda path, trained: path.write_bytes(content)


WEIGHTS = [
    Weights("cut off", ".pth", cut, DAMAGED),
    Weights("one bit flipped", ".pth", flip_a_bit, "is damaged (ValueError: the checksum"),
    Weights("one bit flipped", ".pth", flip_a_bit, "checksum", ("--eval-only",)),
    Weights("empty", ".pth", bytes_of(b""), f"is damaged (it is empty or truncated): {AGAIN}"),
    Weights("empty", ".pkl", bytes_of(b""), "it is empty or truncated"),
    Weights("a folder", ".pth", lambda path, trained: path.mkdir(), "is a folder"),
    Weights("a pipe", ".pth", lambda path, trained: os.mkfifo(path), "no weights at"),
    Weights("a link to itself", ".pth", lambda path, trained: path.symlink_to(path), "no weights"),
    Weights("no header", ".safetensors", bytes_of(b"\1\2\3"), REMEDY),
    Weights("header beyond the file", ".safetensors", bytes_of(header(b"{}", 1 << 60)), REMEDY),
    Weights("header cut off", ".safetensors", bytes_of(header(b"{}", 1 << 20)), DAMAGED),
    Weights("empty", ".safetensors", bytes_of(b""), DAMAGED),
    Weights("old file cut off", ".pth", old_and_cut, DAMAGED),
    Weights("zoo file cut off", ".pkl", pickle_and_cut, DAMAGED),
    Weights(
        "a pointer", ".pth", bytes_of(b"version https://git-lfs.github.com/spec/v1"), "git lfs"
    ),
    Weights("a web page", ".pth", bytes_of(b"\n<!DOCTYPE html><html>404</html>"), "is a web page"),
    Weights("a text", ".pth", bytes_of(b"not a checkpoint"), "not a valid file of weights"),
    Weights("header is no json", ".safetensors", bytes_of(header(b"{'a': 1}")), DAMAGED),
    Weights(
        "tensor beyond the file", ".safetensors", bytes_of(header(tensor_at(0, 40))), "is damaged ("
    ),
    Weights(
        "tensor of negative size",
        ".safetensors",
        bytes_of(header(tensor_at(40, 0))),
        "is damaged (",
    ),
    Weights(
        "a checkpoint of torch",
        ".safetensors",
        lambda path, trained: path.write_bytes(trained.file.read_bytes()),
        REMEDY,
    ),
    Weights(
        "a file of safetensors",
        ".pth",
        lambda path, trained: save_file({"a": torch.zeros(3)}, path),
        REMEDY,
    ),
    Weights(
        "a whole module",
        ".pth",
        lambda path, trained: torch.save(torch.nn.Linear(2, 2), path),
        "its pickle refers to torch.nn.modules.linear.Linear",
    ),
    Weights(
        "no tensors",
        ".pth",
        lambda path, trained: torch.save({"model": {"a": "text", "b": 3}}, path),
        "has no weights",
    ),
    Weights("a text among the tensors", ".pth", changed(**{"cls_score.weight": str}), "type found"),
    Weights(
        "tensors without values",
        ".pth",
        changed(all=lambda value: value.to("meta")),
        "give weights of this very model",
    ),
    Weights(
        "another shape everywhere",
        ".pth",
        changed(all=lambda value: torch.zeros([side + 1 for side in value.shape])),
        "belong to another model",
    ),
    Weights(
        "no name in common",
        ".pth",
        lambda path, trained: torch.save({"model": {"layer.weight": torch.zeros(3)}}, path),
        "belong to another model",
    ),
    Weights(
        "half of another model",
        ".pth",
        lambda path, trained: torch.save(
            {"model": weights_of(trained) | {f"more.{k}": torch.zeros(1) for k in range(90)}}, path
        ),
        "--allow-partial",
    ),
    Weights(
        "non-finite weights",
        ".pth",
        changed(weight=lambda value: value * float("nan")),
        "has non-finite weights",
        ("--eval-only",),
    ),
    Weights(
        "three classes",
        ".pth",
        changed(**{"cls_score.weight": lambda w: torch.cat([w, w[:1]])}),
        "head.cls_score.weight",
        ("--eval-only",),
    ),
    Weights(
        "one tensor missing",
        ".pth",
        lambda path, trained: torch.save(
            {"model": {k: v for k, v in weights_of(trained).items() if k != SCORE}}, path
        ),
        f"1 not in the file ({SCORE})",
        ("--eval-only",),
    ),
    Weights(
        "other classes",
        ".pth",
        lambda path, trained: torch.save(trained.checkpoint() | {"classes": ["a", "b"]}, path),
        "was trained on 2 classes (a, b), the data has 2 (red, green)",
        ("--eval-only",),
    ),
]


@pytest.mark.parametrize(
    "case", WEIGHTS, ids=lambda c: " ".join([c.fault, c.ending, *c.flags]).replace(" ", "-")
)
def test_weights_that_cannot_be_used_are_named(case, trained, tmp_path, capsys):
    path = tmp_path / f"given{case.ending}"
    case.write(path, trained)
    arguments = [*case.flags, *trained.arguments(trained.folder), f"train.init_checkpoint={path}"]
    before = saved_files(trained.folder)
    line = error_of(arguments, capsys)
    assert str(path) in line and case.words in line, line
    assert saved_files(trained.folder) == before


class Malice:
    """An object that writes a file when it is unpickled."""

    def __init__(self, harm):
        self.harm = str(harm)

    def __reduce__(self):
        return open, (self.harm, "w")


class NestedMalice(Malice):
    """The same, inside a pickle that a function of torch would load unsafely."""

    def __reduce__(self):
        inner = pickle.dumps(Malice(self.harm), protocol=2)
        return torch.storage._load_from_bytes, (inner,)


def pickled(path, malice):
    path.write_bytes(pickle.dumps({"model": {"a": malice}}))


def saved_by_torch(path, malice):
    torch.save({"model": {"a": malice}}, path)


# How the file is written, what it does, its suffix, and how it is given to a run.
ATTACKS = [
    (pickled, Malice, ".pth", "init"),
    (pickled, Malice, ".pkl", "init"),
    (pickled, Malice, ".pyth", "init"),
    (pickled, Malice, ".bin", "eval"),
    (pickled, Malice, ".safetensors", "eval"),
    (pickled, Malice, ".pth", "resume"),
    (saved_by_torch, Malice, ".pth", "resume"),
    (saved_by_torch, Malice, ".pth", "teacher"),
    (saved_by_torch, Malice, ".safetensors", "teacher"),
    (saved_by_torch, NestedMalice, ".pth", "init"),
    (pickled, NestedMalice, ".pkl", "teacher"),
]


@pytest.mark.parametrize("kind", [Malice, NestedMalice])
def test_the_attack_works_where_pickles_are_run(tmp_path, kind):
    harm = tmp_path / "harm"
    with contextlib.suppress(Exception):  # from its result, when the harm is done
        pickle.loads(pickle.dumps(kind(harm)))
    assert harm.exists()


@pytest.mark.parametrize(
    ("write", "kind", "ending", "way"),
    ATTACKS,
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_a_file_that_would_execute_code_is_refused_and_not_executed(
    write, kind, ending, way, trained, tmp_path, capsys
):
    harm, path, run = tmp_path / "harm", tmp_path / f"evil{ending}", tmp_path / "run"
    write(path, kind(harm))
    given = {
        "init": [*trained.arguments(run), f"train.init_checkpoint={path}"],
        "eval": ["--eval-only", *trained.arguments(run), f"train.init_checkpoint={path}"],
        "resume": ["--resume", *trained.arguments(run)],
        "teacher": [*trained.arguments(run, STAGED), f"model.teacher.checkpoint={path}"],
    }
    if way == "resume":
        run.mkdir()
        path = path.rename(run / path.name)
        (run / "last_checkpoint").write_text(path.name)
    line = error_of(given[way], capsys)
    assert str(path) in line and "refused" in line
    assert not harm.exists()
