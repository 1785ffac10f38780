"""What ``tools/reproduce.py`` can reproduce: recipes of a benchmark and how they depend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Benchmark:
    """A comparison on the generated data that takes minutes on a CPU.

    Attributes:
        title: heading of its report.
        teacher: recipe at full resolution, from scratch.
        full: the teacher trained on for as long as a student.
        students: title to recipe; they start as the teacher. The first one is the baseline, the
            last one the method.
        variants: more students, on request.
        full_title: of the full-resolution run at equal total iterations.
    """

    title: str
    teacher: str
    full: str
    students: Mapping[str, str]
    variants: Mapping[str, str] = field(default_factory=dict)
    full_title: str = "full resolution"

    @property
    def baseline(self) -> str:
        """Title of the student that the method is compared with."""
        return next(iter(self.students))

    @property
    def method(self) -> str:
        """Title of the student that the benchmark is about."""
        return list(self.students)[-1]


_THUMBDET = "projects/ThumbDet/configs/quick/"


def _thumbdet(factor: int, side: int) -> Benchmark:
    def recipe(name: str) -> str:
        return f"{_THUMBDET}{name}{factor}_fcos_small_{side}_plates.py"

    return Benchmark(
        title=f"ThumbDet at {factor}x",
        teacher=_THUMBDET + "teacher_fcos_small_256_plates.py",
        full=_THUMBDET + "full_fcos_small_256_plates.py",
        students={
            "bicubic": recipe("bicubic"),
            "learned": recipe("learned"),
            "learned + distillation": recipe("thumbdet"),
        },
        variants={
            "bicubic + distillation": recipe("bicubic_distilled"),
            "learned + the paper's distillation": recipe("paper"),
        },
    )


BENCHMARKS = {"thumbdet": _thumbdet(4, 64), "thumbdet-2x": _thumbdet(2, 128)}
