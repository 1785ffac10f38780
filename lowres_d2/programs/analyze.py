"""Memory, MACs and speed of a recipe's model, beside full resolution."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.analysis.cost.counting_rules import RULES, CountingRule
from lowres_d2.analysis.cost.latency import time_models, time_parts
from lowres_d2.analysis.cost.parts import in_order
from lowres_d2.data.datasets.base import NoDataGivenError
from lowres_d2.engine.build import build_datasets, build_model
from lowres_d2.engine.channels import expected_channels
from lowres_d2.engine.compare import FullResolutionModel, first_images, machine
from lowres_d2.engine.identity import recipe_of
from lowres_d2.engine.trained import trained_model
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.tiles import LookedAt, TiledDetector, counting_tiles
from lowres_d2.predictor.info import USUAL_SIZE
from lowres_d2.predictor.inputs import Inputs
from lowres_d2.programs.command_lines.analyze import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.said_cost import OPS

import torch
from omegaconf import DictConfig
from tabulate import tabulate
from torch import nn

# Title and unit of what is known of each part.
QUANTITIES = {
    "parameters": ("parameters, M", 1e6),
    "memory": ("memory, MB", 1e6),
    "macs": ("MACs, G", 1e9),
    "low_bit_macs": ("low-bit MACs, G", 1e9),
    "ops": ("OPs, G", 1e9),
    "seconds": ("time, ms", 1e-3),
}
MEMORY = "Memory is 32 bits for each parameter, and k bits for each weight of a k-bit layer."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if args.weights:
        cfg, weights = recipe_of(args.config_file, args.weights, args.opts)
    else:
        cfg, weights = load_recipe(args.config_file, args.opts), None
    used = trained_model(cfg, weights.weights)[0] if weights else build_model(cfg)
    model = build_model(cfg) if weights and weights.packed else used
    channels = expected_channels(model)
    if args.size:
        images, what = [_noise(args.size, channels)], f"{args.size[0]}x{args.size[1]}"
    else:
        images, what = _images(cfg, args.images, channels)
    models = _resolutions(model)
    rule = RULES[args.rule]
    report = {name: _costs(network, images, rule) for name, network in models.items()}
    if args.latency:
        timed = _resolutions(used)
        for name, timing in time_models(timed, images).items():
            report[name]["images_per_second"] = timing.images_per_second
            report[name]["seconds"] = time_parts(timed[name], images)
    name = args.config_file or args.weights
    if args.json:
        head = {"recipe": name, "images": what, "machine": machine(model), "rule": rule.name}
        print(json.dumps(head | report, indent=1))
    else:
        notes = [MEMORY, rule.note]
        if any("ops" in costs for costs in report.values()):
            notes.append(OPS)
        print("\n".join([f"{name}, {what}, {machine(model)}", _table(report, rule), *notes]))


def _costs(
    model: nn.Module, images: Sequence[dict[str, Any]], rule: CountingRule
) -> dict[str, Any]:
    """Quantities by part; OPs, which are MACs otherwise, only of a model with low-bit layers."""
    with counting_tiles(model) as count:
        found = measure_complexity(model, images, rule)
    costs = {
        "parameters": found.parameters,
        "memory": found.memory.by_part,
        "weight_memory": found.memory.weights,
        "macs": found.macs,
    }
    if count().of:
        costs["tiles"] = {"looked_at": count().tiles, "of": count().of}
    if found.low_bit_macs:
        costs |= {"low_bit_macs": found.low_bit_macs, "ops": found.ops}
    return costs


def _resolutions(model: nn.Module) -> dict[str, nn.Module]:
    """By name: the model and, where it lowers the resolution, what it is compared with."""
    if isinstance(model, TiledDetector):
        parts = _resolutions(model.detector).items()
        return {name: model.around(part) for name, part in parts}
    if not isinstance(model, LowResDetector) or model.resampler.factor == 1:
        return {"full resolution": model}
    full = FullResolutionModel(model.teacher) if model.teacher else model.detector
    return {"full resolution": full, "low resolution": model}


def _noise(size: Sequence[int], channels: int) -> dict[str, Any]:
    height, width = size
    if min(size) < 1:
        raise ValueError(f"--size {height} {width}: expected two positive numbers")
    image = torch.randint(
        0, 256, (channels, height, width), generator=torch.Generator().manual_seed(0)
    )
    return {"image": image.to(torch.uint8), "height": height, "width": width}


def _images(cfg: DictConfig, number: int | None, channels: int) -> tuple[list[dict[str, Any]], str]:
    """Test images and what they are; noise where the data is not here and was not asked for."""
    if number is not None and number < 1:
        raise ValueError(f"--images {number}: expected a positive number")
    try:
        build_datasets(cfg, ["test"])
    except (FileNotFoundError, NoDataGivenError) as error:
        # Images of a set in memory have no mapper that would say their size.
        if number is not None or "mapper" not in cfg.dataloader.test:
            raise type(error)(f"{error}; --size H W needs no data") from None
        image = _noise(USUAL_SIZE, channels)
        height, width = USUAL_SIZE
        mapped = Inputs(build(cfg, "dataloader.test.mapper"))(image["image"], "noise")
        shown = "x".join(map(str, mapped["image"].shape[-2:]))
        print(f"{error}: measured on noise; --size H W sets its size", file=sys.stderr)
        return [mapped], f"{height}x{width} as the test images are resized, {shown}"
    images = first_images(build(cfg, "dataloader.test"), number or 1)
    return images, f"{len(images)} image(s)"


def _table(report: Mapping[str, Mapping[str, Any]], rule: CountingRule) -> str:
    """A row for each part; for each resolution a column for each quantity."""
    columns = [
        (f"{title.replace('MACs', rule.quantity)}\n{name}", costs[key], unit)
        for name, costs in report.items()
        for key, (title, unit) in QUANTITIES.items()
        if key in costs
    ]
    parts = in_order(part for _, values, _ in columns for part in values)
    rows = [[part, *(values.get(part, 0) / unit for _, values, unit in columns)] for part in parts]
    rows.append(["all", *(sum(values.values()) / unit for _, values, unit in columns)])
    text = tabulate(rows, ["", *(title for title, *_ in columns)], floatfmt=".3f")
    weights = [
        f"{name}: {sum(costs['weight_memory'].values()) / 1e6:.3f} MB without biases, norms, scales"
        for name, costs in report.items()
    ]
    tiles = [
        f"{name}: tiles looked at: {LookedAt(*costs['tiles'].values())}"
        for name, costs in report.items()
        if "tiles" in costs
    ]
    speeds = [
        f"{name}: {costs['images_per_second']:.2f} images/s"
        for name, costs in report.items()
        if "images_per_second" in costs
    ]
    return "\n".join([text, *weights, *tiles, *speeds])
