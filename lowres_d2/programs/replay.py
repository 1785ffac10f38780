"""Run the batch again at which a run met NaN or infinity, and say where.

See ``lowres_d2.engine.hooks.non_finite`` for what the file holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lowres_d2.engine.build import build_model
from lowres_d2.engine.checkpoint import read_checkpoint
from lowres_d2.engine.hooks.batch_files import unpack_batch
from lowres_d2.engine.hooks.non_finite import all_finite
from lowres_d2.engine.hooks.repeatable import seed_iteration
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.tiles import untiled
from lowres_d2.modeling.weights import fill_model
from lowres_d2.programs.command_lines.replay import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.load import load_recipe

import torch
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import Tensor, nn


@dataclass
class Replay:
    """What the repeated iteration gave.

    Attributes:
        losses: each term.
        first_module: name and class of the first module whose output is not finite, and whether
            its inputs were; None where there is none.
        gradients: names of the parameters whose gradient is not finite.
        error: what the model raised instead of giving losses.
    """

    losses: dict[str, float] = field(default_factory=dict)
    first_module: str | None = None
    gradients: list[str] = field(default_factory=list)
    error: str = ""

    def __str__(self) -> str:
        lines = [f"{name:30} {value:.6g}" for name, value in self.losses.items()]
        lines += [f"{'total_loss':30} {sum(self.losses.values()):.6g}"] if self.losses else []
        lines += [f"the model raised: {self.error}"] if self.error else []
        if self.first_module:
            lines.append(f"first module whose output is not finite: {self.first_module}")
        else:
            lines.append("the output of every module is finite")
        if self.gradients:
            more = ", ..." if len(self.gradients) > 3 else ""
            names = ", ".join(self.gradients[:3])
            lines.append(f"{len(self.gradients)} gradients are not finite: {names}{more}")
        return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _print(args))


def _print(args: argparse.Namespace) -> None:
    if not args.file.is_file():
        raise FileNotFoundError(
            f"{args.file}: no such file; give a run's non_finite_<iteration>.pth"
        )
    contents = read_checkpoint(args.file)
    if "batch" not in contents:
        raise ValueError(f"{args.file} holds no batch: give a run's non_finite_<iteration>.pth")
    print(f"iteration {contents['iteration']}, stopped by {contents['term']}")
    print(replay(load_recipe(args.config_file, args.opts), contents, str(args.file)))


def replay(cfg: DictConfig, contents: dict[str, Any], path: str) -> Replay:
    """Repeat the iteration: same weights, batch, modes, losses and random numbers.

    Args:
        cfg: the run's recipe.
        contents: what the file holds.
        path: its path, for messages.

    Raises:
        ValueError: the weights are of another model.
    """
    model = untiled(build_model(cfg))
    _restore(model, contents, path)
    device = next(model.parameters()).device.type
    found = Replay()
    for name, module in model.named_modules():
        module.register_forward_hook(_watcher(name, found))
    seed_iteration(contents["seed"], contents["iteration"], contents["rank"])
    try:
        with EventStorage(), torch.autocast(device, enabled=contents["mixed_precision"]):
            losses = model(unpack_batch(contents["batch"]))
    except (FloatingPointError, AssertionError) as error:
        found.error = " ".join(str(error).split())
        return found
    losses = {"total_loss": losses} if isinstance(losses, Tensor) else losses
    found.losses = {name: loss.item() for name, loss in losses.items()}
    sum(losses.values()).backward()
    found.gradients = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    ]
    return found


def _restore(model: nn.Module, contents: dict[str, Any], path: str) -> None:
    report = fill_model(model, contents, path)
    if report.matched < report.total:
        raise ValueError(f"{report}: give the recipe that the run was made with")
    model.train()
    modules = dict(model.named_modules())
    for name in contents["eval_modules"]:
        modules[name].training = False
    for name, value in contents["loss_normalizer"].items():
        modules[name].loss_normalizer = value
    if isinstance(model, LowResDetector):
        model.loss_terms.active = contents["active_losses"]


def _watcher(name: str, found: Replay) -> Callable[[nn.Module, Any, Any], None]:
    def watch(module: nn.Module, inputs: Any, output: Any) -> None:
        # Modules end before those they are part of, so that the first found is the innermost.
        if found.first_module is None and not all_finite(output):
            given = "finite inputs" if all_finite(inputs) else "inputs that are not finite either"
            kind = type(module).__name__
            found.first_module = f"{name or 'the model'} ({kind}), with {given}"

    return watch
