"""A validation's report as text: counts, then the findings, most severe first."""

from __future__ import annotations

from collections import defaultdict
from itertools import zip_longest

from lowres_d2.data.validation.classes import class_counts
from lowres_d2.data.validation.findings import SEVERITIES, Finding
from lowres_d2.data.validation.report import ModelFacts, Report
from lowres_d2.data.validation.sizes import Summary

from tabulate import tabulate

_SHOWN_CLASSES = 10
_WIDTH = 240  # of a line with an example


def report_text(report: Report, examples: int = 3) -> str:
    """The report as text, for a terminal.

    Args:
        report: what was found.
        examples: number of places named per finding.
    """
    parts = []
    if report.splits:
        parts += [_counts(report), _classes(report), *_model(report.model), *report.notes]
    for severity in SEVERITIES:
        parts += [_finding(f, examples) for f in report.findings if f.severity == severity]
    counts = [
        f"{number} {severity}{'s' * (number != 1 and severity != 'info')}"
        for severity in SEVERITIES
        if (number := report.findings.count(severity))
    ]
    text = "\n".join([*parts, ", ".join(counts) or "no problems found"])
    # Names may have lone surrogates, which cannot be printed.
    return text.encode(errors="backslashreplace").decode()


def _counts(report: Report) -> str:
    """A column of numbers for each split."""
    columns = [_numbers(summary) for summary in report.summaries]
    # A split without objects has no mean.
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [[name, *(column.get(name, "-") for column in columns)] for name in names]
    lines = [tabulate(rows, ["", *(split.name for split in report.splits)])]
    lines += [
        f"densest images of {split.name}: {_densest(summary)}"
        for split, summary in zip(report.splits, report.summaries, strict=True)
        if summary.densest
    ]
    return "\n".join(lines)


def _numbers(summary: Summary) -> dict[str, object]:
    sizes = summary.quantiles
    return {
        "images": summary.images,
        "images without objects": summary.empty,
        "objects": summary.objects,
        "crowds": summary.crowds,
        **summary.size_ranges,
        "size: smallest, median, largest": "{:.1f}, {:.1f}, {:.1f}".format(*sizes)
        if sizes
        else "-",
        **size_statistics(summary),
    }


def size_statistics(summary: Summary) -> dict[str, str]:
    """Mean and deviation of the objects' sizes, and shares of small ones, as text by their name."""
    if summary.spread is None or summary.relative is None:
        return {}
    named = {
        "size: mean ± deviation": "{:.1f} ± {:.1f}".format(*summary.spread),
        "size / image's: mean ± deviation": "{:.3f} ± {:.3f}".format(*summary.relative),
    }
    return named | {
        f"size up to {limit:g} px": f"{share:.1%}" for limit, share in summary.shares.items()
    }


def _densest(summary: Summary) -> str:
    return ", ".join(f"{name} ({number})" for name, number in summary.densest)


def _classes(report: Report) -> str:
    """Class lists side by side, with the objects of each class."""
    columns = {
        split.name: [f"{name} ({number})" for name, number in class_counts(split).items()]
        for split in report.splits
    }
    if report.model.trained:
        columns["init_checkpoint"] = list(report.model.trained)
    rows = [[k, *row] for k, row in enumerate(zip_longest(*columns.values(), fillvalue="-"))]
    more = len(rows) - _SHOWN_CLASSES
    table = tabulate(rows[:_SHOWN_CLASSES], ["class", *columns])
    return table + (f"\n... {more} more" if more > 0 else "")


def _model(facts: ModelFacts) -> list[str]:
    """Numbers of the model and of the evaluator that the data has to fit, if they are known."""
    values = defaultdict(set)
    for name, value in (facts.classes | facts.caps).items():
        values[name.split(".")[-1]].add(value)
    named = [f"{key} {'/'.join(map(str, sorted(found)))}" for key, found in values.items()]
    if facts.max_dets is not None:
        named.append(f"evaluator's max_dets {facts.max_dets}")
    return [f"model: {', '.join(named)}"] if named else []


def _finding(finding: Finding, examples: int) -> str:
    check = finding.check
    lines = [f"{finding.severity}: {finding.split}: {check.what}: {finding.count} [{check.name}]"]
    lines += [f"    {str(suspect)[:_WIDTH]}" for suspect in finding.suspects[:examples]]
    more = finding.count - examples
    if more > 0:
        lines[-1] += f"  ... {more} more"
    return "\n".join([*lines, f"    -> {check.remedy}"])
