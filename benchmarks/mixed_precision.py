"""Time of a training iteration in mixed precision on a CPU: a ratio for each recipe.

    python benchmarks/mixed_precision.py [--config-file RECIPE ...] [--rounds 9]

Forward, backward and optimizer of one batch of generated images, in float32 and under autocast to
bfloat16, take turns in one process; a ratio is the median over rounds of processor time, on one
thread. Without bfloat16 arithmetic in the processor, ``train.amp`` stays off and this benchmark
stops. Weights are random.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.engine.build import build_model
from lowres_d2.engine.hooks.mixed_precision import training_precision
from lowres_d2.engine.processes.allocator import keep_freed_memory
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import build, load_recipe

import torch
from detectron2.utils.events import EventStorage
from tabulate import tabulate

RECIPES = (
    "configs/quick/full_fcos_small_256_plates.py",
    "projects/FeatureSR/configs/quick/base_faster_rcnn_small_256_plates.py",
)


def make_iteration(recipe: str, folder: str) -> tuple[Callable[[bool], float], bool]:
    """A function that times one training iteration; whether the machine has mixed precision."""
    data = "dataloader.train.dataset"
    overrides = [f"{data}.root={folder}", f"{data}.num_images=8", "train.amp.enabled=true"]
    cfg = load_recipe(recipe, [*overrides, "dataloader.train.num_workers=0", "train.device=cpu"])
    model = build_model(cfg).train()
    if cfg.train.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    batch = next(iter(build(cfg, "dataloader.train")))

    def seconds(mixed: bool) -> float:
        start = time.thread_time()
        with EventStorage(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            losses = model(batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        return time.thread_time() - start

    return seconds, training_precision(cfg, model) is not None


def main() -> None:
    """Print milliseconds of both and their ratio."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--config-file", nargs="+", default=RECIPES)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as all of our programs do
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for recipe in options.config_file:
            seconds, can_mix = make_iteration(recipe, folder)
            if not can_mix:
                raise SystemExit("this processor has no bfloat16 arithmetic: train.amp stays off")
            seconds(False), seconds(True)  # warms up
            rounds = [(seconds(False), seconds(True)) for _ in range(options.rounds)]
            plain, mixed = (1000 * statistics.median(r) for r in zip(*rounds, strict=True))
            ratio = statistics.median(b / a for a, b in rounds)
            rows.append((recipe, f"{plain:.0f} ms", f"{mixed:.0f} ms", f"{ratio:.2f}"))
    print(tabulate(rows, headers=["training iteration of", "float32", "bfloat16", "ratio"]))


if __name__ == "__main__":
    main()
