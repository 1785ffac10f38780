"""Write the bare detector of a run's checkpoint, for plain Detectron2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowres_d2.engine.checkpoint import read_checkpoint
from lowres_d2.engine.startup.weights import naming_weights
from lowres_d2.layers.norm_by_factor import weights_for_factor
from lowres_d2.modeling.checkpoint_keys import (
    PREFIX,
    bare_detector_state_dict,
    evaluated_state_dict,
)
from lowres_d2.modeling.weights import COUNTER
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command_lines.extract import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes

import torch


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: extract_detector(args.weights, args.output, args.factor))


def extract_detector(weights: Path, output: Path, factor: str | None = None) -> None:
    """Write the evaluated weights with the names a plain detector has, and their classes.

    Args:
        weights: checkpoint of a run.
        output: file to write.
        factor: of an any-factor detector's checkpoint: the one that the plain detector is for.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: it is not a checkpoint of a composition, or has not this factor.
    """
    if output.resolve() == weights.resolve():
        raise ValueError(f"{output}: is the checkpoint that is read: choose another OUTPUT")
    check_own([output])
    with naming_weights("", weights):
        checkpoint = read_checkpoint(weights)
    detector = bare_detector_state_dict(evaluated_state_dict(checkpoint))
    if not detector:
        raise ValueError(f"{weights} has no {PREFIX}* tensors: it is no composition's checkpoint")
    detector = weights_for_factor(detector, factor)
    with own_path(output) as beside:
        known = {key: checkpoint.get(key, []) for key in ("classes", "category_ids")}
        torch.save({"model": detector, **known}, beside)
    kind = "averaged tensors" if "ema" in checkpoint else "tensors"
    number = sum(not name.endswith(COUNTER) for name in detector)  # as reports of loading count
    print(f"{number} {kind} written to {output}")
