"""Evaluation mode for a while: for probes and targets, which must change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, in which running statistics do not change."""
    # Part by part: a training backbone may have parts in evaluation mode, frozen norms.
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
