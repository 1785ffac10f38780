"""What engines are given: pieces to look at, how they are read, and where results go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from lowres_d2.predictor.scale.batches import BatchReader
from lowres_d2.predictor.scale.detect import Detect
from lowres_d2.predictor.scale.model import Model
from lowres_d2.predictor.scale.shards import Collector, Shards

import numpy as np


@dataclass(frozen=True)
class Job:
    """Work of a run, which can be sent to other processes.

    Attributes:
        pieces: numbers of those that have no shard.
        reader: gives their batches.
        model: looks at these.
        score: lowest that is kept.
        shards: take the results.
    """

    pieces: np.ndarray
    reader: BatchReader
    model: Model
    score: float
    shards: Shards

    def detect(self, device: str) -> Detect:
        """What looks at batches on a device, in the process that calls it first."""
        return Detect(partial(self.model.load, device), self.score)

    def collector(self) -> Collector:
        """What writes the shards of the batches that a process has looked at."""
        return Collector(self.reader.manifest, self.shards)
