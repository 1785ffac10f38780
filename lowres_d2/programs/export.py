"""Export a model to ONNX, OpenVINO or ExecuTorch, checked against torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.image import reader_of
from lowres_d2.deploy.export import FORMATS, Format, export_model, format_of
from lowres_d2.deploy.export.check_images import check_images
from lowres_d2.deploy.export.graph import graph_for, takes_any_size
from lowres_d2.engine.build import build_model
from lowres_d2.engine.channels import expected_channels
from lowres_d2.engine.identity import recipe_text
from lowres_d2.own_files import check_own
from lowres_d2.predictor.loading import predictor_of, recipe_and_identity
from lowres_d2.programs.command_lines.export import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.opened_weights import check_not_exported
from lowres_d2.recipes.find import find_recipe
from lowres_d2.recipes.load import load_recipe
from lowres_d2.recipes.standalone import standalone

from tabulate import tabulate
from torch import nn


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _print_table(args) if args.table else _run(args))


def _print_table(args: argparse.Namespace) -> None:
    rows = []
    for recipe in args.table:
        cfg = load_recipe(find_recipe(recipe), ["train.device=cpu", *args.opts])
        model = build_model(cfg).eval()
        rows.append([recipe, *(_support(model, entry) for entry in FORMATS.values())])
    print(tabulate(rows, headers=["recipe", *FORMATS], tablefmt="github"))


def _support(model: nn.Module, entry: Format) -> str:
    try:
        graph_for(model, entry)
    except ValueError as error:
        return f"no: {error}"
    return "yes"


def _run(args: argparse.Namespace) -> None:
    entry = format_of(args.output, args.format)
    entry.check_packages(entry.to_write)
    check_own(entry.files(args.output))
    check_not_exported(args.source)
    cfg, weights, recipe = recipe_and_identity(args.source, args.weights, args.opts)
    cfg.train.device = "cpu"
    detector = predictor_of(cfg.copy(), weights, recipe)
    text = recipe_text(standalone(cfg, detector.class_names))
    any_size = takes_any_size(graph_for(detector.model, entry), entry)
    images = (
        [Path(image) for image in args.images]
        if args.images
        else check_images(expected_channels(detector.model), any_size=any_size)
    )
    inputs = [detector.prepare(image, f"image {k}") for k, image in enumerate(images)]
    found = export_model(
        detector.model,
        args.output,
        inputs,
        name=entry.name,
        recipe=text,
        classes=detector.class_names,
        category_ids=weights.category_ids,
        channel_order=reader_of(detector.mapper).image_format or "",
        knows=weights.knows,
        progress=lambda text: print(text, flush=True),
    )
    print(found)
    size = sum(path.stat().st_size for path in entry.files(args.output)) / 1e6
    print(f"written to {args.output}, {size:.2f} MB")
