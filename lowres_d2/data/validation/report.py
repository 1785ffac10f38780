"""All checks in order, and what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lowres_d2.data.validation.areas import check_areas
from lowres_d2.data.validation.boxes import check_boxes
from lowres_d2.data.validation.classes import check_classes, class_counts
from lowres_d2.data.validation.findings import SEVERITIES, Findings
from lowres_d2.data.validation.ids import check_ids
from lowres_d2.data.validation.images import Progress, check_images
from lowres_d2.data.validation.overlap import check_overlap
from lowres_d2.data.validation.sizes import Summary, check_sizes, summarize
from lowres_d2.data.validation.split import Split


@dataclass(frozen=True)
class ModelFacts:
    """What the data is held against.

    Attributes:
        classes: number of classes of each part of the model that has one, by name.
        trained: class names of the weights that the model starts from.
        max_dets: detections of an image that the evaluator counts; None: enough.
        caps: detections of an image that the model gives at most, by the name of the setting.
    """

    classes: dict[str, int] = field(default_factory=dict)
    trained: Sequence[str] = ()
    max_dets: int | None = None
    caps: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What the validation found.

    Attributes:
        splits: the parts of the data, the first of which is trained on.
        summaries: their counts.
        findings: what is wrong with them.
        model: what they were held against.
        notes: what else is to be said, in lines.
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
        """As plain values, for json."""
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
) -> Report:
    """Check parts of a data set, each alone and against the others.

    Args:
        splits: what is trained on, and what is evaluated on.
        findings: of reading them; takes what is found here.
        size_ranges: size ranges by name, from and to in pixels.
        model: what they are held against.
        level: how far images are read: "header", "draft" or "full".
        workers: threads that read images.
        progress: wraps a long iterable, given its length and what is done.
    """
    model = model or ModelFacts()
    summaries, seen = [], []
    for split in splits:
        check_ids(split, findings)
        if check_boxes(split, findings):
            check_areas(split, findings)
        summaries.append(summarize(split, size_ranges))
        evaluated = split is splits[-1]
        max_dets = model.max_dets if evaluated else None
        check_sizes(split, summaries[-1], findings, max_dets, model.caps if evaluated else None)
        seen.append(check_images(split, findings, level, workers, progress))
    if splits:
        check_classes(splits, findings, model.classes, model.trained)
    check_overlap(splits, seen, findings)
    return Report(list(splits), summaries, findings, model)
