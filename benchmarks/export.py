"""Time of exported detectors beside eager torch's, on the same threads.

    python benchmarks/export.py [--threads 1] [--rounds 10] [--only quick r50]

Needs ``pip install 'lowres-d2[export]'``; ExecuTorch gets a column where it is installed. Detectors
are the quick FCOS at 256x256 and FCOS R-50 at 800x1120, with random weights and a score threshold
that 1,000 candidates pass. Each file is written with its check and run as ``lowres_d2.load`` runs
it; ``torch.compile`` stands beside. All take turns, image by image, after one round to warm up;
medians are printed, and their ratio to eager torch's. The claim: onnxruntime and OpenVINO take at
most eager torch's time.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.deploy.export import FORMATS, export_model, load_exported
from lowres_d2.deploy.export.graph import Graph
from lowres_d2.engine.build import build_model
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import load_recipe

import torch
from tabulate import tabulate
from torch import nn

CASES = {
    "quick": ("configs/quick/full_fcos_small_256_plates.py", (256, 256)),
    "r50": ("configs/coco/full_fcos_r50_800_coco_1x.py", (800, 1120)),
}
CANDIDATES = 1000
CHECKED = 2  # images: the times do not depend on more


def detector(recipe: str, image: torch.Tensor) -> nn.Module:
    """The recipe's detector with random weights and so many candidates."""
    model = build_model(load_recipe(recipe, ["train.device=cpu"])).eval()
    torch.manual_seed(0)
    head = model.detector.head
    nn.init.normal_(head.cls_score.weight, std=0.1)
    scores = torch.cat([level[1].flatten() for level in Graph(model).form(image.float())])
    model.detector.test_score_thresh = float(scores.topk(CANDIDATES).values[-1])
    return model


@torch.no_grad()
def medians(ways: dict[str, Callable], inputs: list[dict], rounds: int) -> dict[str, float]:
    """Milliseconds of each way."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way(inputs)
            if number:
                took[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(each) for name, each in took.items()}


def limit_executorch(threads: int) -> None:
    """Give its pool, which is the whole process's, so many threads; before a file is loaded."""
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

    _unsafe_reset_threadpool(threads)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    formats = {
        name: entry for name, entry in FORMATS.items() if all(map(find_spec, entry.to_write))
    }
    if "executorch" in formats:
        limit_executorch(args.threads)
    packages = sorted({"torch"}.union(*(entry.to_read for entry in formats.values())))
    print(", ".join(f"{name} {version(name)}" for name in packages), f"{args.threads} threads")
    rows = []
    for case in args.only:
        recipe, size = CASES[case]
        images = torch.randint(0, 256, (CHECKED, 3, *size), dtype=torch.uint8)
        with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
            model = detector(recipe, images[0])
            inputs = [{"image": image} for image in images]
            ways: dict[str, Callable] = {
                "torch": model,
                # A copy: compiling must not change the eager one.
                "torch.compile": torch.compile(copy.deepcopy(model)),
            }
            for name, entry in formats.items():
                file = Path(folder, f"detector{entry.suffix}")
                export_model(model, file, inputs, name=name)
                ways[name] = load_exported(file)
            found = medians(ways, inputs[:1], args.rounds)
        ratios = [f"{ms:.1f} ms, {ms / found['torch']:.2f}" for ms in found.values()]
        rows.append([f"{case}, {size[0]}x{size[1]}", *ratios])
        print(rows[-1], flush=True)
    print(tabulate(rows, headers=["", *found], tablefmt="github"))


if __name__ == "__main__":
    main()
