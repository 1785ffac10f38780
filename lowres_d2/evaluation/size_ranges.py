"""Size ranges of objects, for each of which metrics are reported.

Size is sqrt(area) in pixels of the original image. A size range is [low, high] with both ends
included, as in COCO: an object of exactly 32 px counts as small and as medium there, so that the
numbers of objects may add up to more than there are. Other benchmarks include one of the ends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

# Sources. coco: the evaluation page of cocodataset.org. aitod: Wang et al., "Tiny Object Detection
# in Aerial Images" (ICPR 2020); its evaluator puts no lower end on very tiny, the data starts at
# 2 px, and no upper end on medium. aitod-64: the ends that papers give, 2 and 64 px, which differ
# where data have larger objects, as DOTA does. tinyperson: Yu et al., "Scale Match for Tiny Person
# Detection" (WACV 2020); the paper says 2 px for the lowest end, its evaluator (TinyBenchmark)
# 1 px, which is taken here so that metrics are comparable. plates: our generated data set, 6 to
# 96 px.
PRESETS: dict[str, dict[str, tuple[float, float]]] = {
    "coco": {"small": (0, 32), "medium": (32, 96), "large": (96, math.inf)},
    "aitod": {
        "very-tiny": (0, 8),
        "tiny": (8, 16),
        "small": (16, 32),
        "medium": (32, math.inf),
    },
    "aitod-64": {"very-tiny": (2, 8), "tiny": (8, 16), "small": (16, 32), "medium": (32, 64)},
    "tinyperson": {
        "tiny": (1, 20),
        "tiny1": (1, 8),
        "tiny2": (8, 12),
        "tiny3": (12, 20),
        "small": (20, 32),
        "reasonable": (32, math.inf),
    },
    "tinyperson-2": {
        "tiny": (2, 20),
        "tiny1": (2, 8),
        "tiny2": (8, 12),
        "tiny3": (12, 20),
        "small": (20, 32),
        "reasonable": (32, math.inf),
    },
    "plates": {"0-12": (0, 12), "12-24": (12, 24), "24-48": (24, 48), "48-inf": (48, math.inf)},
}


@dataclass(frozen=True)
class SizeRanges:
    """Named ranges of object size, in order.

    Attributes:
        names: a unique name for each size range.
        limits: (low, high) in pixels of the original image, high may be infinite.
    """

    names: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]

    @classmethod
    def from_config(cls, spec: SizeRanges | str | Mapping | Sequence) -> SizeRanges:
        """Size ranges from a recipe's value.

        Args:
            spec: a preset's name (``coco``, ``aitod``, ``aitod-64``, ``tinyperson``,
                ``tinyperson-2``, ``plates``); a mapping from name to [low, high], with null for no
                upper end; or a list of edges such as [0, 8, 16, 32, null], whose size ranges are
                named by their edges.
        """
        if isinstance(spec, SizeRanges):
            return spec
        if isinstance(spec, str):
            if spec not in PRESETS:
                near = get_close_matches(spec, PRESETS, 1)
                hint = f", nearest is {near[0]!r}" if near else ""
                raise ValueError(f"size ranges {spec!r}: expected one of {list(PRESETS)}{hint}")
            spec = PRESETS[spec]
        elif isinstance(spec, Sequence):
            spec = _from_edges([_number(edge) for edge in spec])
        if not isinstance(spec, Mapping) or not spec:
            raise ValueError(
                f"size ranges {spec!r}: expected a preset, a mapping or a list of edges"
            )
        return cls(tuple(map(str, spec)), tuple(_range(name, spec[name]) for name in spec))

    def counts(self, areas: Iterable[float]) -> list[int]:
        """Number of objects in each size range, given their areas in square pixels."""
        areas = list(areas)
        return [sum(low <= area <= high for area in areas) for low, high in self.areas()]

    def areas(self) -> list[tuple[float, float]]:
        """The ranges as areas in square pixels, the form that COCO's evaluation takes."""
        return [(low**2, high**2) for low, high in self.limits]

    def label(self, name: str, ends: str = "both") -> str:
        """The name with its limits, as ``small (<=32 px)``; a name from edges is only its limits.

        Args:
            name: of the size range.
            ends: which ends it includes: ``both``, ``lower`` or ``upper``.
        """
        low, high = self.limits[self.names.index(name)]
        above, below = ">" if ends == "upper" else ">=", "<" if ends == "lower" else "<="
        text = f"{low:g}-{high:g} px" if low else f"{below}{high:g} px"
        if high == math.inf:
            text = f"{above}{low:g} px"
        return text if name == _range_name(low, high) else f"{name} ({text})"

    def why_not_all(self, counts: Sequence[int], total: int) -> str:
        """Why the numbers of objects do not add up to all objects; empty where they do.

        Args:
            counts: number of objects in each size range.
            total: number of objects.
        """
        more, added_up = sum(counts) - total, f"they add up to {sum(counts)} of {total} objects"
        if not more:
            return ""
        if more < 0:
            return f"the size ranges leave sizes out: {added_up}"
        limits = sorted(self.limits)
        if any(low < high for (_, high), (low, _) in itertools.pairwise(limits)):
            return f"the size ranges overlap: {added_up}"
        return (
            f"objects exactly as large as an edge count in both size ranges, as in COCO: {added_up}"
        )


def _from_edges(edges: Sequence[float]) -> dict[str, tuple[float, float]]:
    return {_range_name(*pair): pair for pair in itertools.pairwise(edges)}


def _range_name(low: float, high: float) -> str:
    return f"{low:g}-{high:g}"  # only characters that TensorBoard allows in the name of a metric


def _range(name: str, pair: object) -> tuple[float, float]:
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise ValueError(f"size range {name!r}: expected [low, high] in pixels, got {pair!r}")
    low, high = _number(pair[0]), _number(pair[1])
    if not 0 <= low < high:
        raise ValueError(f"size range {name!r}: expected 0 <= low < high, got [{low:g}, {high:g}]")
    return low, high


def _number(value: Any) -> float:
    try:
        return math.inf if value is None else float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"size range edge {value!r}: expected a number of pixels or null"
        ) from None
