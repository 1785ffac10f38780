"""Checkpoints that a run cannot resume from, and broken recipes: one line says what and where.

Every case runs the command line to its error, which leaves all saved files unchanged.
"""

import textwrap

from lowres_d2.programs.train import main
from lowres_d2.recipes.find import find_recipe

import pytest
import torch

from toys.one_line_errors import error_of, saved_files
from toys.runs import PLAIN, STAGED
from toys.trained import SCORE


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


# What is wrong with the checkpoint to resume from, and words of the error.
CHECKPOINTS = {
    "no-trainer": (without("trainer"), "it has no 'trainer'"),
    "no-optimizer": (without("trainer", "optimizer"), "it has no 'optimizer'"),
    "no-iteration": (without("trainer", "iteration"), "it has no 'iteration'"),
    "no-state-of-the-run": (without("run"), "it has no 'run'"),
    "iteration-is-text": (with_value("one", "trainer", "iteration"), "iteration is 'one'"),
    "iteration-is-negative": (with_value(-5, "trainer", "iteration"), "iteration is -5"),
    "trainer-is-a-list": (with_value([1], "trainer"), "trainer: "),
    "other-data": (with_value("abc", "run", "fingerprint"), "other data (fingerprint abc"),
    "normalizer-of-no-module": (with_value({"a": 1.0}, "run", "loss_normalizer"), "no 'a'"),
    "other-optimizer": (of_sgd, "no exp_avg, exp_avg_sq, step: it was not"),
    "no-groups-in-the-optimizer": (
        with_value({"state": {}, "param_groups": []}, "trainer", "optimizer"),
        "its optimizer has groups of [] parameters",
    ),
    "parameters-in-another-order": (in_another_order, "for a parameter of shape"),
    "tensor-missing": (without("model", SCORE), f"1 not in the file ({SCORE})"),
    "tensor-of-no-use": (with_value(torch.zeros(1), "model", "extra"), "unused (extra)"),
    "non-finite-weights": (
        with_value(torch.full((2, 32, 3, 3), float("inf")), "model", SCORE),
        f"non-finite weights ({SCORE})",
    ),
}


@pytest.mark.parametrize("fault", CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_resumed_is_named(fault, trained, tmp_path, capsys):
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
def test_a_damaged_last_checkpoint_file_does_not_prevent_resuming(
    pointer, trained, tmp_path, capsys
):
    run = tmp_path / "run"
    run.mkdir()
    torch.save(trained.checkpoint(), run / "model_0000000.pth")
    (run / "last_checkpoint").write_bytes(pointer)
    main(["--resume", *trained.arguments(run)])
    assert "resumed at iteration 1 from" in capsys.readouterr().out
    final = torch.load(run / "model_final.pth", weights_only=True)
    assert final["trainer"]["iteration"] == 1


# Text of a recipe: a shipped one, followed by a line that breaks it.
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
    "wrong-type": (PLAIN, "train.seed = 'one'", ["train.seed is one", "expected an integer"]),
    "no-iterations": (PLAIN, "train.max_iter = 0", ["train.max_iter is 0", "at least 1"]),
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
        ["train.stages add up to 9", "max_iter is 2"],
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
    "unknown-size-ranges": (
        PLAIN,
        "dataloader.evaluator.size_ranges = 'coca'",
        ["'coca'", "nearest"],
    ),
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
