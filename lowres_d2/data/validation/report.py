"""Runs all checks, and reports what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lowres_d2.data.validation.areas import check_areas
from lowres_d2.data.validation.boxes import check_boxes
from lowres_d2.data.validation.classes import check_classes, class_counts
from lowres_d2.data.validation.findings import SEVERITIES, Findings
from lowres_d2.data.validation.ids import check_ids
from lowres_d2.data.validation.images import Progress, check_images, pixel_statistics
from lowres_d2.data.validation.overlap import check_overlap
from lowres_d2.data.validation.sizes import SIZE_LIMITS, Summary, check_sizes, summarize
from lowres_d2.data.validation.split import Split


@dataclass(frozen=True)
class ModelFacts:
    """What the data is compared with.

    Attributes:
        classes: number of classes of each part of the model that has one, by name.
        trained: class names of the weights that the model starts from.
        max_dets: detections per image that the evaluator counts; None: enough.
        caps: largest number of detections per image of the model, by the name of the setting.
    """

    classes: dict[str, int] = field(default_factory=dict)
    trained: Sequence[str] = ()
    max_dets: int | None = None
    caps: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What the validation found.

    Attributes:
        splits: the splits, the training data first.
        summaries: their counts.
        findings: what is wrong with them.
        model: what they were compared with.
        notes: further lines of the report.
    """

    splits: list[Split]
    summaries: list[Summary]
    findings: Findings
    model: ModelFacts
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.findings.count("error")

    def record(self) -> dict:
        """Plain values for a json file."""
        return {
            "ok": self.ok,
            "counts": {severity: self.findings.count(severity) for severity in SEVERITIES},
            "splits": [
                {"name": split.name, "source": str(split.source), "classes": class_counts(split)}
                | vars(summary)
                for split, summary in zip(self.splits, self.summaries, strict=True)
            ],
            "model": vars(self.model),
            "notes": self.notes,
            "findings": [finding.record() for finding in self.findings],
        }


def validate(
    splits: Sequence[Split],
    findings: Findings,
    size_ranges: Mapping[str, tuple[float, float]],
    model: ModelFacts | None = None,
    level: str = "draft",
    workers: int = 1,
    progress: Progress | None = None,
    limits: Sequence[float] = SIZE_LIMITS,
) -> Report:
    """Check the splits of a data set, each alone and against the others.

    Args:
        splits: the training data first, the evaluation data last.
        findings: findings of reading them; collects those of the checks.
        size_ranges: size ranges by name, from and to in pixels.
        model: what they are compared with.
        level: how far images are read: "header", "draft" or "full".
        workers: threads that read images.
        progress: wraps a long iterable, given its length and a description.
        limits: sizes in pixels, up to which shares of the objects are counted.
    """
    model = model or ModelFacts()
    summaries, seen, notes = [], [], []
    for split in splits:
        check_ids(split, findings)
        if check_boxes(split, findings):
            check_areas(split, findings)
        summaries.append(summarize(split, size_ranges, limits))
        evaluated = split is splits[-1]
        max_dets = model.max_dets if evaluated else None
        check_sizes(split, summaries[-1], findings, max_dets, model.caps if evaluated else None)
        seen.append(check_images(split, findings, level, workers, progress))
        statistics = pixel_statistics(seen[-1].values())
        notes += [f"{split.name}: {statistics}"] if statistics else []
    if splits:
        check_classes(splits, findings, model.classes, model.trained)
    check_overlap(splits, seen, findings)
    return Report(list(splits), summaries, findings, model, notes)
