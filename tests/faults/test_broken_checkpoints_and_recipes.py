"""Broken and malicious weights, checkpoints and recipes: one line says what, where and what to do.

Every case runs the command line to its error, after which all that was saved is as it was.
"""

import contextlib
import json
import os
import pickle
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.engine.cli import main
from lowres_d2.engine.recipe import find_recipe

import pytest
import torch
from one_line_errors import error_of, saved_files
from safetensors.torch import save_file
from toy_data import ToyData

PLAIN = "configs/own_data/full_fcos_small_own.py"
STAGED = str(Path(__file__).parents[1] / "engine" / "recipes" / "staged_distilled.py")
SCORE = "detector.head.cls_score.weight"
REMEDY = "give a .pth, .pkl or .safetensors file of weights"


class Trained:
    """A data set, and a run of two steps on it that has ended."""

    def __init__(self, folder):
        self.data = ToyData(folder / "data")
        self.data.write()
        self.folder = folder / "run"
        main(self.arguments(self.folder))
        self.file = self.folder / "model_final.pth"

    def arguments(self, output_dir, recipe=PLAIN):
        overrides = self.data.overrides()
        return ["--config-file", str(recipe), *overrides, f"train.output_dir={output_dir}"]

    def checkpoint(self):
        """Its contents, as if it had been saved after the first step."""
        state = torch.load(self.file, weights_only=True)
        state["trainer"]["iteration"] = 0
        return state


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("trained"))


@dataclass(frozen=True)
class Weights:
    """A file of weights.

    Attributes:
        fault: what is wrong with it, in words of a name.
        ending: of its name.
        write: from the path and the :class:`Trained`.
        words: of the error, which names the file besides.
        flags: of the command line; by default training starts from the file.
    """

    fault: str
    ending: str
    write: Callable
    words: str
    flags: tuple = ()


def weights_of(trained):
    return trained.checkpoint()["model"]


def changed(**changes):
    """Writes the checkpoint with some of its weights replaced: by a function of each."""

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


def header(content, length=None):
    """A safetensors file that has a header only."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return (length or len(text)).to_bytes(8, "little") + text


def tensor_at(*offsets):
    return {"a": {"dtype": "F32", "shape": [10], "data_offsets": offsets}}


def bytes_of(content):
    return lambda path, trained: path.write_bytes(content)


WEIGHTS = [
    Weights("cut off", ".pth", cut, REMEDY),
    Weights("one bit flipped", ".pth", flip_a_bit, "check sum"),
    Weights("one bit flipped", ".pth", flip_a_bit, "check sum", ("--eval-only",)),
    Weights("empty", ".pth", bytes_of(b""), REMEDY),
    Weights("empty", ".pkl", bytes_of(b""), "it ends too early"),
    Weights("a folder", ".pth", lambda path, trained: path.mkdir(), "is a folder"),
    Weights("a pipe", ".pth", lambda path, trained: os.mkfifo(path), "no weights at"),
    Weights("a link to itself", ".pth", lambda path, trained: path.symlink_to(path), "no weights"),
    Weights("no header", ".safetensors", bytes_of(b"\1\2\3"), REMEDY),
    Weights("header beyond the file", ".safetensors", bytes_of(header(b"{}", 1 << 60)), REMEDY),
    Weights("header is no json", ".safetensors", bytes_of(header(b"{'a': 1}")), REMEDY),
    Weights("tensor beyond the file", ".safetensors", bytes_of(header(tensor_at(0, 40))), REMEDY),
    Weights("tensor of negative size", ".safetensors", bytes_of(header(tensor_at(40, 0))), REMEDY),
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
        "it names torch.nn.modules.linear.Linear",
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
        "no numbers",
        ".pth",
        changed(weight=lambda value: value * float("nan")),
        "are no numbers",
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
    """What writes a file as it is unpickled."""

    def __init__(self, harm):
        self.harm = str(harm)

    def __reduce__(self):
        return open, (self.harm, "w")


class NestedMalice(Malice):
    """The same inside a torch file that a name of torch's own would read without care."""

    def __reduce__(self):
        inner = pickle.dumps(Malice(self.harm), protocol=2)
        return torch.storage._load_from_bytes, (inner,)


def pickled(path, malice):
    path.write_bytes(pickle.dumps({"model": {"a": malice}}))


def saved_by_torch(path, malice):
    torch.save({"model": {"a": malice}}, path)


# How it is written, what it does, its name's ending, and how it is given to a run.
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
    with contextlib.suppress(Exception):  # of what it gives, when all is done
        pickle.loads(pickle.dumps(kind(harm)))
    assert harm.exists()


@pytest.mark.parametrize(
    ("write", "kind", "ending", "way"),
    ATTACKS,
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_a_file_that_would_run_is_refused_and_not_run(
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


def without(*keys):
    """Takes an entry out of a checkpoint."""

    def change(state):
        *groups, last = keys
        for key in groups:
            state = state[key]
        del state[last]

    return change


def with_value(value, *keys):
    """Replaces an entry of a checkpoint."""

    def change(state):
        *groups, last = keys
        for key in groups:
            state = state[key]
        state[last] = value

    return change


def of_sgd(state):
    optimizer = state["trainer"]["optimizer"]
    optimizer["state"] = {
        k: {"momentum_buffer": numbers["exp_avg"]} for k, numbers in optimizer["state"].items()
    }
    for group in optimizer["param_groups"]:
        del group["betas"]


def in_another_order(state):
    optimizer = state["trainer"]["optimizer"]["state"]
    first, last = min(optimizer), max(optimizer)
    optimizer[first], optimizer[last] = optimizer[last], optimizer[first]


# What is wrong with the checkpoint to resume from, and what is said of it.
CHECKPOINTS = {
    "no-trainer": (without("trainer"), "it has no 'trainer'"),
    "no-optimizer": (without("trainer", "optimizer"), "it has no 'optimizer'"),
    "no-iteration": (without("trainer", "iteration"), "it has no 'iteration'"),
    "no-state-of-the-run": (without("run"), "it has no 'run'"),
    "iteration-is-text": (with_value("one", "trainer", "iteration"), "iteration is 'one'"),
    "iteration-is-negative": (with_value(-5, "trainer", "iteration"), "iteration is -5"),
    "trainer-is-a-list": (with_value([1], "trainer"), "trainer: "),
    "other-data": (with_value("abc", "run", "fingerprint"), "other data, fingerprint abc"),
    "normalizer-of-no-module": (with_value({"a": 1.0}, "run", "loss_normalizer"), "no 'a'"),
    "other-optimizer": (of_sgd, "no betas, it is no AdamW's"),
    "no-groups-in-the-optimizer": (
        with_value({"state": {}, "param_groups": []}, "trainer", "optimizer"),
        "different number of parameter groups",
    ),
    "parameters-in-another-order": (in_another_order, "of a parameter of"),
    "tensor-missing": (without("model", SCORE), f"1 not in the file ({SCORE})"),
    "tensor-of-no-use": (with_value(torch.zeros(1), "model", "extra"), "unused (extra)"),
    "weights-that-are-no-numbers": (
        with_value(torch.full((2, 32, 3, 3), float("inf")), "model", SCORE),
        f"no numbers ({SCORE})",
    ),
}


@pytest.mark.parametrize("fault", CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_gone_on_from_is_named(fault, trained, tmp_path, capsys):
    change, words = CHECKPOINTS[fault]
    state = trained.checkpoint()
    change(state)
    path = tmp_path / "run" / "model_0000000.pth"
    path.parent.mkdir()
    torch.save(state, path)
    (path.parent / "last_checkpoint").write_text(path.name)
    before = saved_files(path.parent)
    line = error_of(["--resume", *trained.arguments(path.parent)], capsys)
    assert str(path) in line and words in line, line
    assert saved_files(path.parent) == before


@pytest.mark.parametrize("pointer", [b"\xff\xfe\0", b"", b"\n", b"../elsewhere.pth", b"a\nb"])
def test_a_damaged_pointer_costs_nothing(pointer, trained, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    torch.save(trained.checkpoint(), run / "model_0000000.pth")
    (run / "last_checkpoint").write_bytes(pointer)
    main(["--resume", *trained.arguments(run)])
    assert "resumed at iteration 1 from" in capsys.readouterr().out
    final = torch.load(run / "model_final.pth", weights_only=True)
    assert final["trainer"]["iteration"] == 1


# A recipe's text: all of a shipped one, with a line behind it that breaks it.
RECIPE = """
    from detectron2.config import LazyCall as L
    from detectron2.config import LazyConfig

    base = LazyConfig.load({base!r})
    data, dataloader, lr_multiplier = base.data, base.dataloader, base.lr_multiplier
    model, optimizer, train = base.model, base.optimizer, base.train
    from lowres_d2.engine.stages import Stage
    {line}
"""

# Recipe it is made from, what breaks it, and words of the error.
RECIPES = {
    "syntax-error": (PLAIN, "train.max_iter = = 3", ["broken.py does not load: SyntaxError"]),
    "missing-import": (PLAIN, "import no_such_package", ["broken.py does not load", "no_such_"]),
    "missing-piece": (PLAIN, "from .absent import model", ["broken.py does not load"]),
    "no-model": (PLAIN, "del model", ["defines no model"]),
    "unknown-key": (PLAIN, "train.max_itr = 5", ["train.max_itr", "nearest: 'max_iter'"]),
    "wrong-type": (PLAIN, "train.seed = 'one'", ["train.seed is one", "whole number"]),
    "no-steps": (PLAIN, "train.max_iter = 0", ["train.max_iter is 0", "from 1 on"]),
    "argument-that-is-not-taken": (
        PLAIN,
        "model.detector.head.num_covs = 3",
        ["model.detector.head.num_covs: FCOSHead takes no", "nearest"],
    ),
    "argument-missing": (
        PLAIN,
        "del model.detector.pixel_mean",
        ["model cannot be built", "'pixel_mean'"],
    ),
    "unknown-class": (
        PLAIN,
        "model.detector._target_ = 'detectron2.modeling.FC0S'",
        ["model.detector._target_", "detectron2.modeling.FC0S", "cannot be imported"],
    ),
    "interpolation-of-nothing": (
        PLAIN,
        "optimizer.lr = '${optimizer.rate}'",
        ["optimizer.lr refers to ${optimizer.rate}", "not found"],
    ),
    "interpolation-in-a-circle": (
        PLAIN,
        "optimizer.lr = '${optimizer.weight_decay}'; optimizer.weight_decay = '${optimizer.lr}'",
        ["refers to ${optimizer.", "Recursive"],
    ),
    "argument-refused": (
        PLAIN,
        "model.detector.head.num_anchors = 'two'",
        ["model cannot be built"],
    ),
    "stages-too-long": (
        STAGED,
        "train.stages = [L(Stage)(name='a', iterations=9)]",
        ["train.stages last 9", "max_iter is 2"],
    ),
    "stage-of-nothing": (
        STAGED,
        "train.stages = [L(Stage)(name='a', trainable=['detector.bakbone.*'])]",
        ["train.stages[a].trainable", "'detector.bakbone.*' matches nothing"],
    ),
    "stage-of-no-length": (
        STAGED,
        "train.stages = [L(Stage)(name='a', iterations=0), L(Stage)(name='b', iterations=2)]",
        ["train.stages[a].iterations is 0"],
    ),
    "stages-that-are-no-list": (
        STAGED,
        "train.stages = 'neck'",
        ["train.stages", "expected a list of L(Stage)"],
    ),
    "loss-of-the-last-stage": (
        STAGED,
        "train.stages = [L(Stage)(name='a', iterations=1),"
        " L(Stage)(name='b', iterations=1, losses=['featrue'])]",
        ["train.stages[b].losses", "'featrue' fits no loss", "nearest: feature"],
    ),
    "weight-of-an-unknown-loss": (
        STAGED,
        "model.loss_weights = {'featrue': 2.0}; train.stages = []",
        ["'featrue' fits no loss"],
    ),
    "tap-of-nothing": (
        STAGED,
        "model.objectives[0].pairs[0].student = 'backbone.bottom_up.res7'; train.stages = []",
        ["backbone.bottom_up.res7", "nearest"],
    ),
    "batch-of-nothing": (
        PLAIN,
        "dataloader.train.total_batch_size = 0",
        ["total_batch_size=0", "positive"],
    ),
    "batch-of-a-word": (
        PLAIN,
        "dataloader.train.total_batch_size = 'two'",
        ["size='two': expected"],
    ),
    "workers-under-0": (PLAIN, "dataloader.train.num_workers = -1", ["num_workers"]),
    "rate-that-is-no-number": (PLAIN, "optimizer.lr = 'fast'", ["optimizer"]),
    "rate-under-0": (PLAIN, "optimizer.lr = -1.0", ["learning rate"]),
    "unknown-bands": (PLAIN, "dataloader.evaluator.bands = 'coca'", ["'coca'", "nearest"]),
    "cap-under-the-densest": (PLAIN, "dataloader.evaluator.max_dets = 0", ["max_dets=0"]),
    "unknown-device": (PLAIN, "train.device = 'gpu'", ["train.device=gpu", "cpu"]),
    "best-by-neither": (
        PLAIN,
        "train.best.mode = 'most'; train.eval_period = 1",
        ["mode", "most"],
    ),
    "clipping-of-an-unknown-kind": (
        PLAIN,
        "train.clip_gradients = dict(enabled=True, params=dict(kind='size', limit=1.0))",
        ["kind", "size"],
    ),
    "two-starts": (
        STAGED,
        "train.init_checkpoint = 'a.pth'; train.student_from_teacher = True",
        ["both set"],
    ),
}


@pytest.mark.parametrize("fault", RECIPES)
def test_a_broken_recipe_ends_in_one_line_before_anything_is_trained(
    fault, trained, tmp_path, capsys
):
    base, line, words = RECIPES[fault]
    recipe = tmp_path / "broken.py"
    base = str(find_recipe(base).resolve())
    recipe.write_text(textwrap.dedent(RECIPE).format(base=base, line=line))
    before = saved_files(trained.folder)
    arguments = trained.arguments(trained.folder, recipe)
    # What the recipe says counts, not the command line.
    keys = {
        "max_iter": "train.max_iter",
        "total_batch_size": "dataloader.train.total",
        "num_workers": "dataloader.train.num_workers",
        "device": "train.device",
        "eval_period": "train.eval_period",
    }
    left_out = tuple(key for word, key in keys.items() if f"{word} =" in line)
    line = error_of([a for a in arguments if not a.startswith(left_out or "\0")], capsys)
    assert all(word in line for word in words), line
    assert saved_files(trained.folder) == before
