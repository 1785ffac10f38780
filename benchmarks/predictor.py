"""Time of the predictor beside its model's alone, and time to load it.

    python benchmarks/predictor.py [--weights RUN]

The detector is that of ``configs/quick``, the smallest here, so that what the predictor adds weighs
most. Images are in memory: one of 800x1120, and eight of 256x256. Both ways work in alternating
rounds; the model alone gets tensors that are ready. ``load`` of it and of each quick model is timed
in new processes that have imported torch and torchvision, imports of this project included. The
claims: at most 1.05 times the model's time, and at most 1 s of processor time to load.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lowres_d2
from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import recipe_text
from lowres_d2.predictor import Predictor
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import load_recipe

import numpy as np
import torch

RECIPE = "configs/quick/full_fcos_small_256_plates.py"
CASES = {"one of 800x1120": (1, 800, 1120), "eight of 256x256": (8, 256, 256)}
LOAD = """
import sys, time, torch, torchvision
start = time.process_time()
import lowres_d2
lowres_d2.load(sys.argv[1], device="cpu")
print(time.process_time() - start)
"""


def seconds_to_load(source: str, times: int) -> float:
    """The least processor time of several loads."""
    command = [sys.executable, "-c", LOAD, source]
    done = [
        subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(times)
    ]
    return min(float(one.stdout) for one in done)


def write_untrained(path: Path) -> Path:
    """A file of random weights, with recipe and classes as a run writes them."""
    cfg = load_recipe(RECIPE, ["train.device=cpu"])
    classes = [str(k) for k in range(cfg.model.detector.num_classes)]
    model = build_model(cfg).state_dict()
    torch.save({"model": model, "classes": classes, "recipe": recipe_text(cfg)}, path)
    return path


def seconds(call: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratios(detector: Predictor, images: list[np.ndarray], rounds: int) -> list[float]:
    """The predictor's time over the model's, round by round."""
    inputs = [detector.prepare(image) for image in images]

    @torch.no_grad()
    def alone() -> None:
        detector.model(inputs)

    def whole() -> None:
        detector(images)

    found = []
    for number in range(rounds + 1):
        # In turns, so that neither is always the first.
        calls = (alone, whole) if number % 2 else (whole, alone)
        took = {call: seconds(call) for call in calls}
        found.append(took[whole] / took[alone])
    return found[1:]  # without warming up


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--weights", help="a run of the recipe; otherwise random weights")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--loads", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        weights = str(args.weights or write_untrained(Path(folder, "weights.pth")))
        detector = lowres_d2.load(weights, device="cpu")
        for source in (weights, *lowres_d2.models()):
            took = seconds_to_load(source, args.loads)
            name = Path(source).name
            print(f"load {name}: {took:.2f} s of processor time (claim: at most 1)", flush=True)
    draw = np.random.default_rng(0)
    for name, (number, height, width) in CASES.items():
        images = [draw.integers(0, 256, (height, width, 3), np.uint8) for _ in range(number)]
        found = ratios(detector, images, args.rounds)
        print(f"{name}: median ratio {statistics.median(found):.3f} (claim: at most 1.05)")


if __name__ == "__main__":
    main()
