"""Cost that distillation adds to a training iteration: ratios, against claims.

    python benchmarks/distillation_cost.py [--config-file RECIPE] [--rounds 9] [--device cuda]
    python benchmarks/distillation_cost.py --batch 128 --size 32 \\
        --config-file projects/DFD/configs/quick/dfd4_resnet18_small_8_plates.py

A distilled iteration (forward, backward, optimizer) is compared with the sum of an iteration of the
student without objectives and a forward pass of its teacher (claim: at most 1.1); and an iteration
whose teacher outputs come from a cache with the student's iteration (claim: at most 1.3 for a
detector, 1.2 for a classifier). They take turns in one process; a ratio is the median over rounds.
On the CPU, one thread runs and its processor time is measured, without waiting for the disk.
Weights and images are random.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.engine.processes.allocator import keep_freed_memory
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.teacher import TeacherCache
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import build, load_recipe

import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig

RECIPE = "projects/ThumbDet/configs/quick/paper4_fcos_small_64_plates.py"
OBJECTS = 5
DISTILLED, CACHED = "distilled / (student + teacher)", "cached / student"


def make_batch(number: int, size: int, classes: int) -> list[dict[str, Any]]:
    """Detectron2 inputs of noise, with boxes for a detector and a label for a classifier."""
    batch = []
    for _ in range(number):
        corners = torch.rand(OBJECTS, 2) * size * 0.6
        truth = Instances((size, size))
        truth.gt_boxes = Boxes(torch.cat([corners, corners + 10 + 0.3 * size], dim=1))
        truth.gt_classes = torch.randint(0, classes, (OBJECTS,))
        image = torch.randint(0, 256, (3, size, size), dtype=torch.uint8)
        batch.append({"image": image, "instances": truth, "height": size, "width": size})
        batch[-1]["label"] = int(torch.randint(0, classes, ()))
    return batch


def make_model(cfg: DictConfig, device: str, **changes: Any) -> Any:
    """The recipe's model with some of its arguments replaced, ready to train."""
    torch.manual_seed(0)
    cfg = cfg.copy()
    for key, value in changes.items():
        cfg.model[key] = value
    model = build(cfg, "model").train().to(device)
    return model.to(memory_format=torch.channels_last) if cfg.train.channels_last else model


def make_iteration(model: Any, batch: list[dict[str, Any]]) -> Callable[[], None]:
    """A function that trains one iteration."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)

    def iterate() -> None:
        with EventStorage():
            loss = sum(model(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return iterate


def seconds(job: Callable[[], None], on_cpu: bool) -> float:
    """Seconds of one call: processor time on the CPU, wall time on a GPU."""
    if on_cpu:
        start = time.thread_time()
        job()
        return time.thread_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    job()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> int:
    """Print times and ratios; exit code 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--config-file", default=RECIPE)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8, help="images per iteration")
    parser.add_argument("--size", type=int, default=256, help="height and width of the images")
    options = parser.parse_args()
    on_cpu = options.device == "cpu"
    if on_cpu:
        torch.set_num_threads(1)
        keep_freed_memory()  # as all of our programs do
    cfg = load_recipe(options.config_file)
    cfg.model.teacher.checkpoint = None
    torch.manual_seed(0)
    batch = make_batch(options.batch, options.size, cfg.model.detector.num_classes)
    student = make_model(cfg, options.device, teacher=None, objectives=[], loss_weights=None)
    is_classifier = isinstance(student.detector, ImageClassifier)
    claims = {DISTILLED: 1.1, CACHED: 1.2 if is_classifier else 1.3}
    distilled, cached = (make_model(cfg, options.device) for _ in range(2))
    images = [x["image"].to(options.device).float() / 255 for x in batch]
    taps = {tap for o in distilled.objectives.values() for tap in o.teacher_taps}
    with contextlib.ExitStack() as stack:
        cached.teacher.cache = TeacherCache(stack.enter_context(tempfile.TemporaryDirectory()))
        jobs = {
            "student": make_iteration(student, batch),
            "teacher": lambda: distilled.teacher(images, taps),
            "distilled": make_iteration(distilled, batch),
            "cached": make_iteration(cached, batch),
        }
        for job in jobs.values():  # warms up, and fills the cache
            job()
        rounds = [
            {name: seconds(job, on_cpu) for name, job in jobs.items()}
            for _ in range(options.rounds)
        ]
    for name in jobs:
        print(f"{name:10} {1000 * statistics.median(r[name] for r in rounds):8.1f} ms")
    ratios = {
        DISTILLED: [r["distilled"] / (r["student"] + r["teacher"]) for r in rounds],
        CACHED: [r["cached"] / r["student"] for r in rounds],
    }
    kept = True
    for name, values in ratios.items():
        middle = statistics.median(values)
        kept = kept and middle <= claims[name]
        print(f"{name:32} {middle:.3f}, claim {claims[name]}")
    return int(not kept)


if __name__ == "__main__":
    raise SystemExit(main())
