"""How much faster detectors run on thumbnails than at full resolution: ratios, against claims.

    python benchmarks/thumbdet.py [--detectors fcos_small] [--rounds 9] [--device cuda] [--compile]

Each detector of ``configs/common/models`` runs in evaluation mode, one image at a time, behind a
learned or bicubic downsampler. Downsampling and post-processing are measured, decoding is not. The
models take turns in one process, so that a busy machine favours none; a ratio is the median over
rounds. On the CPU, one thread runs and its processor time is measured. The table also shows how
many times fewer MACs each model has, and its time part by part (never compiled).

Weights are random, on an image of smooth noise. Dense detectors get a score threshold that leaves
as many boxes for non-maximum suppression as a trained detector has, `CANDIDATES`, because untrained
ones would have none or all boxes above it. `CANDIDATES` are rounded means over 24 test images of
the quick benchmark's full-resolution detector (1199) and of its 4x student (437).
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.analysis.cost.latency import time_models, time_parts
from lowres_d2.analysis.cost.parts import in_order
from lowres_d2.engine.processes.allocator import keep_freed_memory
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Bicubic, Identity, LearnedDownsampler
from lowres_d2.programs.command import summary_of

import torch
import torch.nn.functional as F
from detectron2.config import LazyConfig, instantiate
from tabulate import tabulate
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
# By factor; 2x, which was not measured, has as many as full resolution.
CANDIDATES = {1: 1200, 2: 1200, 4: 440}
# Detector -> size of the image, and the speed-up that is claimed for each factor.
CLAIMS = {
    "fcos": ((800, 1120), {2: 3.3, 4: 10.0}),
    "deformable_detr": ((800, 1120), {2: 3.3, 4: 10.0}),
    "fcos_small": ((512, 512), {4: 6.0}),
}


def make_image(height: int, width: int) -> dict[str, Any]:
    """A Detectron2 input of smooth noise."""
    grains = torch.rand(1, 3, height // 16, width // 16, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(grains, (height, width), mode="bicubic").clamp(0, 1)[0]
    return {"image": (smooth * 255).to(torch.uint8), "height": height, "width": width}


def make_models(name: str, factors: list[int], device: str) -> dict[str, LowResDetector]:
    """The detector at full resolution, and with each downsampler in front."""
    recipe = LazyConfig.load(str(ROOT / "configs" / "common" / "models" / f"{name}.py"))
    resamplers = {"full": Identity()}
    for factor in factors:
        resamplers[f"{factor}x learned"] = LearnedDownsampler(factor)
        resamplers[f"{factor}x bicubic"] = Bicubic(factor)
    models = {}
    for title, resampler in resamplers.items():
        torch.manual_seed(0)  # equal weights, but separate models: each has its own score threshold
        model = LowResDetector(instantiate(recipe.model), resampler).eval().to(device)
        models[title] = model.to(memory_format=torch.channels_last)
    return models


@torch.no_grad()
def leave_candidates(model: LowResDetector, image: dict[str, Any]) -> None:
    """Set the score threshold of a dense detector so that `CANDIDATES` boxes are above it."""
    scores: list[torch.Tensor] = []

    def keep_scores(module: nn.Module, inputs: Any, output: Any) -> None:
        logits, _, *centerness = output
        for level, classes in enumerate(logits):
            score = classes.sigmoid()
            for center in centerness:  # FCOS has it, RetinaNet does not
                score = (score * center[level].sigmoid()).sqrt()
            scores.append(score.flatten())

    handle = model.detector.head.register_forward_hook(keep_scores)
    model([image])
    handle.remove()
    found = torch.cat(scores).sort(descending=True).values
    model.detector.test_score_thresh = float(
        found[min(CANDIDATES[model.resampler.factor], len(found) - 1)]
    )


def compile_network(model: LowResDetector) -> None:
    """Compile the parts whose shapes do not change: all but pre- and post-processing."""
    for part in ("backbone", "neck", "head", "encoder", "decoder"):
        if hasattr(model.detector, part):
            getattr(model.detector, part).compile()


def measure(
    name: str, models: dict[str, LowResDetector], rounds: int, on_cpu: bool, compiled: bool
) -> bool:
    """Time one detector and print its table; returns whether its claims hold."""
    size, claims = CLAIMS[name]
    images = [make_image(*size)]
    clock = time.thread_time if on_cpu else time.perf_counter
    # Before anything is compiled: both hook into the modules.
    shares = {title: time_parts(m, images, rounds, clock) for title, m in models.items()}
    macs = {title: measure_complexity(m, images).total_macs for title, m in models.items()}
    if compiled:
        for model in models.values():
            compile_network(model)
    timings = time_models(models, images, rounds, clock)
    parts = in_order(part for spent in shares.values() for part in spent)
    rows, kept = [], True
    for title in models:
        seconds = statistics.median(timings[title].seconds[0])
        faster = timings[title].times_faster_than(timings["full"])
        claim = claims.get(int(title[0])) if title[0].isdigit() else None
        kept = kept and (claim is None or faster >= claim)
        rows.append(
            [
                title,
                f"{1000 * seconds:.1f}",
                f"{macs['full'] / macs[title]:.2f}",
                f"{faster:.2f}",
                f"{claim:g}" if claim else "",
                *(f"{1000 * shares[title].get(part, 0):.1f}" for part in parts),
            ]
        )
    head = ["", "ms", "fewer MACs", "faster", "claim", *parts]
    print(f"\n{name}, {size[0]}x{size[1]}, ms by part on the right")
    print(tabulate(rows, head, disable_numparse=True, stralign="right"), flush=True)
    return kept


def main() -> int:
    """Print a table for each detector; exit code 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--detectors", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--compile", action="store_true", help="compile the network with torch.compile"
    )
    options = parser.parse_args()
    on_cpu = options.device == "cpu"
    if on_cpu:
        torch.set_num_threads(1)
        keep_freed_memory()  # as all of our programs do
    kept = True
    for name in options.detectors:
        size, claims = CLAIMS[name]
        models = make_models(name, list(claims), options.device)
        for model in models.values():
            if hasattr(model.detector, "test_score_thresh"):
                leave_candidates(model, make_image(*size))
        kept = measure(name, models, options.rounds, on_cpu, options.compile) and kept
    return int(not kept and on_cpu)


if __name__ == "__main__":
    raise SystemExit(main())
