"""The quick models of ``lowres-d2 make-models``: their recipes, and what they start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lowres_d2.programs.quick_benchmarks import BENCHMARKS, Row


@dataclass(frozen=True)
class Made:
    """A quick model to make.

    Attributes:
        summary: what it is.
        recipe: its file.
        start: recipe key to the name of the network in :data:`STARTS` whose weights it gets.
        packed: whether it is packed, as ``lowres-d2 pack`` does.
    """

    summary: str
    recipe: str
    start: Mapping[str, str] = field(default_factory=dict)
    packed: bool = False


_QUICK = "projects/ThumbDet/configs/quick/{}_fcos_small_{}_plates.py"
_TAUGHT = {"model.teacher.checkpoint": "teacher"}
# What the models start from or learn from.
STARTS = {
    "teacher": Row(BENCHMARKS["thumbdet"].first, from_first=False),
    "real-valued": Row(BENCHMARKS["dfr_det"].first, from_first=False),
}
MADE = {
    "full": Made(
        "FCOS on the whole image",
        _QUICK.format("full", 256),
        {"train.init_checkpoint": "teacher"},
    ),
    "bicubic4": Made("FCOS on bicubic thumbnails", _QUICK.format("bicubic4", 64), _TAUGHT),
    "learned4": Made("FCOS on learned thumbnails", _QUICK.format("learned4", 64), _TAUGHT),
    "thumbdet2": Made("ThumbDet: learned, distilled", _QUICK.format("thumbdet2", 128), _TAUGHT),
    "thumbdet4": Made("ThumbDet: learned, distilled", _QUICK.format("thumbdet4", 64), _TAUGHT),
    "any_factor": Made(
        "one ThumbDet for 1x, 2x, 3x and 4x", _QUICK.format("any_factor", 256), _TAUGHT
    ),
    "one_bit": Made(
        "1-bit FCOS, packed for CPUs",
        BENCHMARKS["dfr_det"].students["1-bit"].recipe,
        {"train.init_checkpoint": "real-valued"},
        packed=True,
    ),
}
