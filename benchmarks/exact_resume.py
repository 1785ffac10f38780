"""Cost of exact resume per training iteration: a ratio, against a claim of at most 1.02.

    python benchmarks/exact_resume.py [--config-file RECIPE] [--iterations 60]

A run that resumes bit for bit draws every image's augmentations and every iteration's random
numbers from the seed and the iteration, and does without TorchScript optimizations that set in
after some calls. Such a trainer (loader, mapper, forward, backward, optimizer) is compared with one
without any of this, in one process. They take turns on the same images; each ratio is that of one
round, and the claim is for the median. One thread runs and its processor time is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.data.stream import BatchPositions, EpochOrder, ImageStream
from lowres_d2.engine.build import build_model
from lowres_d2.engine.hooks.repeatable import SeedEachIteration, as_in_a_new_process
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import build, load_recipe

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch.utils.data import DataLoader

RECIPE = "configs/quick/full_fcos_small_256_plates.py"
CLAIM = 1.02
IMAGES = 64
WARM_UP = 5


class UnseededStream(ImageStream):
    """The same images, with augmentations that are not seeded."""

    def __getitem__(self, position: int) -> dict[str, Any]:
        index = EpochOrder(self.seed, len(self.dataset)).image_at(position)
        return self.mapper(self.dataset[index])


class Job:
    """A trainer that runs one iteration at a time.

    Args:
        cfg: recipe, with its training set already built.
        exact: whether a run of it could be resumed exactly.
    """

    def __init__(self, cfg: DictConfig, exact: bool) -> None:
        self._exact = exact
        model = build_model(cfg).train()
        cfg = cfg.copy()
        cfg.optimizer.params.model = model
        stream = (ImageStream if exact else UnseededStream)(
            cfg.dataloader.train.dataset, build(cfg, "dataloader.train.mapper"), cfg.train.seed
        )
        batches = BatchPositions(cfg.dataloader.train.total_batch_size)
        loader = DataLoader(stream, batch_sampler=batches, collate_fn=list)
        self._trainer = SimpleTrainer(model, loader, build(cfg, "optimizer"))
        if exact:
            self._trainer.register_hooks([SeedEachIteration(cfg.train.seed)])
        self._trainer.storage = EventStorage()

    def seconds(self) -> float:
        """Processor time of the next iteration."""
        trainer = self._trainer
        with trainer.storage, as_in_a_new_process() if self._exact else contextlib.nullcontext():
            started = time.thread_time()
            trainer.before_step()
            trainer.run_step()
            trainer.after_step()
            spent = time.thread_time() - started
        trainer.iter += 1
        return spent


@contextlib.contextmanager
def generated_recipe(name: str) -> Iterator[DictConfig]:
    """A recipe of the generated plates with a small training set, built."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = "dataloader.train.dataset"
        changes = [f"{dataset}.root={folder}", f"{dataset}.num_images={IMAGES}"]
        cfg = load_recipe(name, [*changes, "train.device=cpu"])
        cfg.dataloader.train.dataset = build(cfg, dataset)
        yield cfg


def main() -> int:
    """Print times and the ratio; exit code 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--config-file", default=RECIPE, help="a recipe on the generated plates")
    parser.add_argument("--iterations", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with generated_recipe(options.config_file) as cfg:
        jobs = {name: Job(cfg, name == "exact") for name in ("plain", "exact")}
        rounds = []
        for number in range(WARM_UP + options.iterations):
            names = sorted(jobs, reverse=bool(number % 2))
            rounds.append({name: jobs[name].seconds() for name in names})
    del rounds[:WARM_UP]
    for name in jobs:
        print(f"{name:6} {1000 * statistics.median(r[name] for r in rounds):8.1f} ms per iteration")
    ratio = statistics.median(r["exact"] / r["plain"] for r in rounds)
    print(f"exact / plain {ratio:.4f}, claim {CLAIM}")
    return int(ratio > CLAIM)


if __name__ == "__main__":
    raise SystemExit(main())
