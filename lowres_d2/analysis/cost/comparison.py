"""Low resolution compared with full resolution: accuracy, drop rate, MACs and speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowres_d2.analysis.cost.accuracy_drop import accuracy_drop_rate
from lowres_d2.analysis.cost.complexity import Complexity
from lowres_d2.analysis.cost.latency import Timing

from tabulate import tabulate

NOT_KNOWN = "n/a"


@dataclass(frozen=True)
class Measured:
    """Metrics and cost of one model.

    Attributes:
        accuracy: AP in percent; None where there are no objects.
        complexity: parameters and MACs.
        timing: latency on the same images as the other model's.
    """

    accuracy: float | None
    complexity: Complexity
    timing: Timing

    def record(self) -> dict[str, Any]:
        """For a json file."""
        return {
            "accuracy": self.accuracy,
            "parameters": self.complexity.total_parameters,
            "macs": self.complexity.total_macs,
            "macs_by_part": dict(self.complexity.macs),
            "memory": self.complexity.memory.total,
            "ops": self.complexity.total_ops,
            "images_per_second": self.timing.images_per_second,
        }


@dataclass(frozen=True)
class Comparison:
    """Two models, evaluated and measured on the same images in one run.

    Attributes:
        full: at full resolution.
        low: at low resolution.
        metric: name of the metric in ``accuracy``, such as ``bbox/AP``.
        machine: machine that the speed was measured on.
    """

    full: Measured
    low: Measured
    metric: str
    machine: str

    @property
    def drop_rate(self) -> float | None:
        """Percent of the full-resolution accuracy lost; None where that is 0 or unknown."""
        if not self.full.accuracy or self.low.accuracy is None:
            return None
        return accuracy_drop_rate(self.full.accuracy, self.low.accuracy)

    @property
    def fewer_macs(self) -> float:
        """How many times fewer MACs low resolution takes."""
        return self.full.complexity.total_macs / self.low.complexity.total_macs

    @property
    def speedup(self) -> float:
        """How many times faster low resolution is."""
        return self.low.timing.times_faster_than(self.full.timing)

    def record(self) -> dict[str, Any]:
        """For a json file."""
        return {
            "metric": self.metric,
            "full_resolution": self.full.record(),
            "low_resolution": self.low.record(),
            "drop_rate": self.drop_rate,
            "fewer_macs": self.fewer_macs,
            "speedup": self.speedup,
            "images_counted": self.low.complexity.images,
            "images_timed": len(self.low.timing.seconds),
            "machine": self.machine,
        }

    def table(self) -> str:
        """Table for the terminal."""
        rows = [
            self._row("full resolution", self.full),
            [
                *self._row("low resolution", self.low),
                _number(self.drop_rate, ".1f"),
                f"{self.fewer_macs:.2f}x",
                f"{self.speedup:.2f}x",
            ],
        ]
        head = ["", self.metric, "parameters, M", "MACs, G", "images/s"]
        head += ["drop, %", "fewer MACs", "faster"]
        images = len(self.low.timing.seconds)
        note = f"MACs and speed: {images} images, one at a time, already decoded, {self.machine}"
        lines = [tabulate(rows, head, disable_numparse=True, stralign="right"), note]
        if self.full.complexity.low_bit_macs or self.low.complexity.low_bit_macs:
            lines.append(self._low_bits())
        return "\n".join(lines)

    def _low_bits(self) -> str:
        """What layers of few bits save; the table has parameters and MACs of any bits."""
        full, low = self.full.complexity, self.low.complexity
        memory = f"{full.memory.total / 1e6:.3f} and {low.memory.total / 1e6:.3f} MB"
        ops = f"{giga(full.total_ops)} and {giga(low.total_ops)} G"
        return f"with layers of few bits: memory {memory}, OPs {ops}"

    def _row(self, name: str, model: Measured) -> list[str]:
        return [
            name,
            _number(model.accuracy, ".2f"),
            f"{model.complexity.total_parameters / 1e6:.2f}",
            giga(model.complexity.total_macs),
            f"{model.timing.images_per_second:.2f}",
        ]


def giga(number: float) -> str:
    """Billions with three decimals, or of less than one its first three digits."""
    billions = number / 1e9
    return f"{billions:.3f}" if billions >= 1 else f"{billions:.3g}"


def _number(value: float | None, form: str) -> str:
    return NOT_KNOWN if value is None else format(value, form)
