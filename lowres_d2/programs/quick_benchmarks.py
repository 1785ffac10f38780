"""The quick benchmarks of ``lowres-d2 reproduce``: their recipes and how they depend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Benchmark:
    """A comparison of detectors on the generated data; it takes minutes on a CPU.

    Attributes:
        title: heading of the report.
        first: recipe of the detector that is trained from scratch and that all others start from.
        first_title: its name in tables and figures.
        weights_key: recipe key with which the others get its weights.
        longer: recipe that trains the first detector further, for as many iterations as the others.
        longer_title: its name.
        students: recipes by title, of what is trained with every seed. The last one is the
            method.
        baseline: title of what the method is compared with.
        variants: more students, trained on request.
        sheets: figures of the report; see ``lowres_d2.programs.reproduce_figures``.
        closes_gap: whether ``longer`` is out of reach, and the table tells which share of the
            distance to it is covered.
    """

    title: str
    first: str
    first_title: str
    weights_key: str
    longer: str
    longer_title: str
    students: Mapping[str, str]
    baseline: str
    variants: Mapping[str, str] = field(default_factory=dict)
    sheets: Sequence[str] = ()
    closes_gap: bool = False

    @property
    def method(self) -> str:
        """Title of the student that the benchmark is about."""
        return list(self.students)[-1]


_THUMBDET = "projects/ThumbDet/configs/quick/"
_FEATURE_SR = "projects/FeatureSR/configs/quick/"


def _thumbdet(factor: int, side: int) -> Benchmark:
    def recipe(name: str) -> str:
        return f"{_THUMBDET}{name}{factor}_fcos_small_{side}_plates.py"

    return Benchmark(
        title=f"ThumbDet at {factor}x",
        first=_THUMBDET + "teacher_fcos_small_256_plates.py",
        first_title="teacher",
        weights_key="model.teacher.checkpoint",
        longer=_THUMBDET + "full_fcos_small_256_plates.py",
        longer_title="full resolution",
        students={
            "bicubic": recipe("bicubic"),
            "learned": recipe("learned"),
            "learned + distillation": recipe("thumbdet"),
        },
        baseline="bicubic",
        variants={
            "bicubic + distillation": recipe("bicubic_distilled"),
            "learned + the paper's distillation": recipe("paper"),
        },
        sheets=("thumbnails", "detections"),
        closes_gap=True,
    )


def _feature_sr() -> Benchmark:
    def recipe(name: str) -> str:
        return f"{_FEATURE_SR}{name}_faster_rcnn_small_256_plates.py"

    return Benchmark(
        title="FeatureSR",
        first=recipe("base"),
        first_title="base",
        weights_key="train.init_checkpoint",
        longer=recipe("longer"),
        longer_title="base, trained further",
        students={
            "no supervision": recipe("no_supervision"),
            "naive supervision": recipe("naive"),
            "ours": recipe("feature_sr"),
        },
        baseline="base",
        sheets=("features", "detections"),
    )


BENCHMARKS = {
    "feature_sr": _feature_sr(),
    "thumbdet": _thumbdet(4, 64),
    "thumbdet-2x": _thumbdet(2, 128),
}
