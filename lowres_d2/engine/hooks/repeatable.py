"""Make the randomness in iteration k depend on (seed, k, rank) only.

So a run can resume exactly without a stored state of its random generators.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm


def seed_everything(*key: int) -> None:
    """Seed Python, numpy and torch from non-negative integers."""
    # A hash of the key, so that neighbouring iterations have unrelated random numbers.
    word = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    random.seed(word)
    np.random.seed(word & 0xFFFFFFFF)  # noqa: NPY002  (the global generator is what libraries use)
    # Not torch.manual_seed: without CUDA that formats a traceback every time.
    torch.default_generator.manual_seed(word)
    # Until CUDA is in use torch would queue the call, another one in every iteration.
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(word)


def seed_iteration(seed: int, iteration: int, rank: int) -> None:
    """Seed for one iteration of a run."""
    # The 1 keeps these keys apart from (seed, 0), which initializes the weights.
    seed_everything(seed, 1, iteration, rank)


@contextlib.contextmanager
def as_in_a_new_process() -> Iterator[None]:
    """In this context scripted functions compute the same bits at every call.

    TorchScript optimizes a function after its first calls, which changes the rounding: a run's
    weights would depend on where it was resumed. Upstream's focal loss is scripted.
    """
    with torch.jit.optimized_execution(False):
        yield


class SeedEachIteration(HookBase):
    """Reseeds before every iteration.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_step(self) -> None:
        seed_iteration(self.seed, self.trainer.iter, comm.get_rank())
