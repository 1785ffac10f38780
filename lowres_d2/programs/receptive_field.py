"""Receptive fields of a recipe's feature maps, and of their atrous twin."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from lowres_d2.analysis.matching.receptive_field import discrepancy, receptive_field
from lowres_d2.engine.build import build_model
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import AtrousTwin
from lowres_d2.modeling.channels import input_channels
from lowres_d2.modeling.tiles import untiled
from lowres_d2.programs.command_lines.receptive_field import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.load import load_recipe

from tabulate import tabulate
from torch import nn

HEADS = ("output", "stride", "receptive\nfield, px", "twin's", "ratio")
HEADS_OF_REGIONS = ("region,\ncells", "RRF", "DRRF", "DRRF\nwith twin")
EXPLANATION = (
    "RRF: receptive field of a region over the width of the image. DRRF: RRF in the image at 1/{} "
    "of the size, over RRF in the full image; 'with twin': over the twin's RRF there."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    for key, values in (("--widths", args.widths), ("--image", [args.image])):
        if min(values) < 1:
            raise ValueError(f"{key} {min(values)}: expected a positive number")
    if args.ratio < 2:
        raise ValueError(f"--ratio {args.ratio}: expected an integer from 2 up")
    model = build_model(load_recipe(args.config_file, [*args.opts, "train.device=cpu"])).eval()
    backbone = _backbone(model)
    try:
        twin, obstacle = AtrousTwin(backbone, args.ratio), None
    except ValueError as error:
        twin, obstacle = None, f"No twin: {error}"
    rows = [row for name in backbone.output_shape() for row in _rows(backbone, twin, name, args)]
    print(f"{args.config_file}, images {args.image} px wide")
    print(tabulate(rows, [*HEADS, *HEADS_OF_REGIONS], floatfmt=".3f", missingval="-"))
    print("\n".join(filter(None, [EXPLANATION.format(args.ratio), obstacle])))


def _backbone(model: nn.Module) -> nn.Module:
    model = untiled(model)
    detector = model.detector if isinstance(model, LowResDetector) else model
    backbone = getattr(detector, "backbone", None)
    if backbone is None:
        raise ValueError(f"model: {type(detector).__name__} has no backbone to measure")
    return backbone


def _rows(
    backbone: nn.Module, twin: AtrousTwin | None, name: str, args: argparse.Namespace
) -> Iterator[list[Any]]:
    """Rows for each width; values that do not depend on it are in the first row only."""
    channels = input_channels(backbone) or 3
    field = receptive_field(backbone, name, channels)
    wide = receptive_field(twin, name, channels) if twin else None
    head = [name, field.stride, field.size]
    head += [wide.size, wide.size / field.size] if wide else [None, None]
    image, ratio = args.image, args.ratio
    for width in args.widths:
        yield [
            *head,
            width,
            field.relative(width, image),
            discrepancy(field, width, image, ratio=ratio),
            discrepancy(field, width, image, wide, ratio) if wide else None,
        ]
        head = [""] * len(head)
