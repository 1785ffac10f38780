"""Cost of super-resolution: time of evaluation, memory of training, against the base detector.

    python benchmarks/feature_sr.py [--size 600 800] [--rounds 5] [--device cuda] [--no-memory]

Time: one image, the same 300 proposals for all models, half of them small; post-processing is
included. On the CPU, one thread runs and its processor time is measured. The models take turns in
one process. Claim: narrow blocks take at most 1.25 times as long as the base detector.

Memory: bytes of all tensors that are alive at once in training iterations of the recipe's first
stage, weights and optimizer included; on the CPU, where allocations can be counted one by one.
Claim: narrow blocks need at most 1.5 times as many as the base detector. Weights are random.
"""

from __future__ import annotations

import argparse
import statistics
import time
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Any

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.analysis.cost.latency import time_models
from lowres_d2.engine.processes.allocator import keep_freed_memory
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import load_recipe

import torch
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

BASE = "configs/coco/full_faster_rcnn_c4_r50_800_coco_1x.py"
FOLDER = "projects/FeatureSR/configs/coco/"
RECIPES = {
    "base": BASE,
    "narrow": FOLDER + "feature_sr_narrow_faster_rcnn_c4_r50_800_coco_1x.py",
    "full width": FOLDER + "feature_sr_faster_rcnn_c4_r50_800_coco_1x.py",
}
PROPOSALS = 300
SMALL_SIDE, LARGE_SIDE = 40, 150  # under and over the recipes' 96 px
CLAIM_TIME, CLAIM_MEMORY = 1.25, 1.5


class FixedProposals(nn.Module):
    """Runs a proposal generator, for its time, and returns fixed boxes in place of its proposals.

    Args:
        generator: the detector's own proposal generator.
        boxes: (R, 4) in the network's input.
    """

    def __init__(self, generator: nn.Module, boxes: Tensor) -> None:
        super().__init__()
        self.generator = generator
        self.boxes = boxes

    def forward(self, images: Any, features: Any, targets: Any = None) -> Any:
        """As the generator, with other boxes."""
        found, losses = self.generator(images, features, targets)
        boxes = self.boxes.to(images.tensor.device)
        fixed = [Instances(p.image_size, proposal_boxes=Boxes(boxes)) for p in found]
        for proposals in fixed:
            proposals.objectness_logits = boxes.new_zeros(len(boxes))
        return fixed, losses


def make_boxes(height: int, width: int) -> Tensor:
    """Boxes all over an image, every other one small."""
    generator = torch.Generator().manual_seed(0)
    sides = torch.tensor([SMALL_SIDE, LARGE_SIDE]).repeat(PROPOSALS // 2)[:, None].float()
    room = torch.tensor([width, height]) - sides
    corners = torch.rand(PROPOSALS, 2, generator=generator) * room
    return torch.cat([corners, corners + sides], dim=1)


def make_model(title: str, size: tuple[int, int], device: str) -> nn.Module:
    """A recipe's detector, untrained, with fixed proposals."""
    torch.manual_seed(0)
    model = instantiate(load_recipe(RECIPES[title]).model).to(device)
    model.detector.proposal_generator = FixedProposals(
        model.detector.proposal_generator, make_boxes(*size)
    )
    return model


def make_input(height: int, width: int) -> dict[str, Any]:
    """A Detectron2 input of noise, with objects for training."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    target = Instances((height, width))
    target.gt_boxes = Boxes(make_boxes(height, width)[:20])
    target.gt_classes = torch.arange(20)
    return {"image": image, "instances": target, "height": height, "width": width}


def measure_time(size: tuple[int, int], rounds: int, device: str) -> bool:
    """Print the ratios; returns whether the claim holds."""
    models = {title: make_model(title, size, device).eval() for title in RECIPES}
    clock = time.thread_time if device == "cpu" else time.perf_counter
    timings = time_models(models, [make_input(*size)], rounds, clock)
    ratios = {title: 1 / t.times_faster_than(timings["base"]) for title, t in timings.items()}
    rows = [
        [title, f"{1000 * statistics.median(timings[title].seconds[0]):.0f}", f"{ratio:.3f}"]
        for title, ratio in ratios.items()
    ]
    head = [f"evaluation, {size[0]}x{size[1]}", "ms", "of base"]
    print(tabulate(rows, head, disable_numparse=True, stralign="right"), flush=True)
    return ratios["narrow"] <= CLAIM_TIME


def training_memory(title: str, size: tuple[int, int]) -> float:
    """MB of tensors alive at once: model, optimizer and what training iterations hold."""
    cfg = load_recipe(RECIPES[title])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model = make_model(title, size, "cpu").train()
        for stage in cfg.train.stages[:1]:
            for name, parameter in model.named_parameters():
                trained = any(fnmatchcase(name, pattern) for pattern in stage.trainable)
                parameter.requires_grad_(trained)
        cfg.optimizer.params.model = model
        cfg.optimizer.lr = 0.0  # random weights would diverge
        optimizer = instantiate(cfg.optimizer)
        for iteration in (1, 2):  # the generator's, the discriminator's
            with EventStorage(iteration):
                losses = model([make_input(*size)])
                sum(losses.values()).backward()
            optimizer.step()
            optimizer.zero_grad()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda e: e.start_ns())
    return max(accumulate(e.nbytes() for e in events)) / 1e6


def measure_memory(size: tuple[int, int]) -> bool:
    """Print the ratios; returns whether the claim holds."""
    found = {title: training_memory(title, size) for title in RECIPES}
    rows = [[t, f"{mb:.0f}", f"{mb / found['base']:.2f}"] for t, mb in found.items()]
    head = [f"training, {size[0]}x{size[1]}", "MB", "of base"]
    print(tabulate(rows, head, disable_numparse=True, stralign="right"), flush=True)
    return found["narrow"] / found["base"] <= CLAIM_MEMORY


def main() -> int:
    """Print both tables; exit code 1 where a claim does not hold on the CPU."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--size", type=int, nargs=2, default=(600, 800))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-memory", action="store_true", help="measure time only")
    parser.add_argument("--no-time", action="store_true", help="measure memory only")
    options = parser.parse_args()
    size = tuple(options.size)
    if options.device == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()  # as all of our programs do
    kept = options.no_time or measure_time(size, options.rounds, options.device)
    if not options.no_memory:
        kept = measure_memory(size) and kept
    return int(not kept and options.device == "cpu")


if __name__ == "__main__":
    raise SystemExit(main())
