"""Convert the authors' or Hugging Face's Deformable DETR weights for ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowres_d2.modeling.deformable_detr.convert import convert_deformable_detr
from lowres_d2.modeling.meta_arch.deformable_detr import DeformableDETR
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command_lines.convert_deformable_detr import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.weight_files import read_weight_file

import torch
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(
        lambda: convert(args.recipe, args.weights, args.output, args.coco, args.overrides)
    )


def convert(
    recipe: str, weights: Path, output: Path, coco: bool = False, overrides: Sequence[str] = ()
) -> None:
    """Write weights with the names of the bare detector, and COCO's ``classes`` where they are.

    Args:
        recipe: its model is, or contains, the Deformable DETR that the weights are for.
        weights: the authors' or Hugging Face's file.
        output: the file to write.
        coco: whether classes are COCO's category ids, 0 to 90, of which the 80 in use are kept.
        overrides: changes of the recipe, ``key=value``.

    Raises:
        FileNotFoundError: no such recipe or weights.
        ValueError: the recipe has no Deformable DETR, or the weights do not fit it.
    """
    check_own([output])
    model = build(load_recipe(recipe, overrides), "model")
    detector = next((m for m in model.modules() if isinstance(m, DeformableDETR)), None)
    if detector is None:
        raise ValueError(f"{recipe}: its model has no DeformableDETR: give a recipe that has one")
    things = [x for x in COCO_CATEGORIES if coco and x.get("isthing", 1)]
    things.sort(key=lambda x: x["id"])
    ids = [thing["id"] for thing in things] or None
    try:
        found = convert_deformable_detr(read_weight_file(weights)["model"], detector, ids)
    except ValueError as error:
        raise ValueError(f"{weights} for {recipe}: {error}") from error
    with own_path(output) as beside:
        names = [thing["name"] for thing in things]
        torch.save({"model": found, "classes": names, "category_ids": ids or []}, beside)
    print(f"{len(found)} tensors written to {output}")
