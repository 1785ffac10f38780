"""A report that compares runs: ``report.md``, with its figures in the same folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.analysis.cost.accuracy_drop import accuracy_drop_rate
from lowres_d2.analysis.cost.trade_off import Point, plot_trade_off, speed
from lowres_d2.analysis.figures.curves import plot_training, read_metrics
from lowres_d2.analysis.findings import Findings, findings_of
from lowres_d2.analysis.findings.tables import metric, table
from lowres_d2.analysis.run import Run
from lowres_d2.own_files import own_path

# What it may write into its folder.
REPORT_FILES = (
    "report.md",
    "training.png",
    "by_size.png",
    "precision_recall.png",
    "confusion.png",
    "trade_off.png",
    "images.png",
)


def write_report(
    output_dir: str | Path,
    runs: Sequence[Run],
    dataset: Sequence[Mapping],
    title: str,
    notes: str = "",
    images: int = 4,
) -> Path:
    """Write ``report.md`` and its figures; ``trade_off.png`` only where speeds or MACs are known.

    Args:
        output_dir: folder for the report and its figures.
        runs: runs evaluated on the same data set; the accuracy drop is relative to the first one.
        dataset: data set that they were evaluated on.
        title: heading of the report.
        notes: Markdown below the heading.
        images: number of images that are shown with their predictions.

    Returns:
        Path of ``report.md``.

    Raises:
        ValueError: the runs were evaluated with different settings or on different data.
    """
    folder, shown = Path(output_dir), runs[0].shown
    found = findings_of(runs, dataset)
    series = {run.name: read_metrics(run.metrics_file) for run in runs}
    plot_training(series, folder / "training.png", shown.names[0], found.kind)
    overall = found.overall()
    points = [
        Point(run.name, overall[run.name][shown.main] or 0.0, run.images_per_second, run.macs)
        for run in runs
    ]
    has_costs = any(point.images_per_second or point.macs for point in points)
    if has_costs:
        plot_trade_off(points, folder / "trade_off.png", metric=shown.main)
    parts = [
        f"# {title}",
        notes.strip(),
        found.about(),
        _overall_table(runs, found),
        f"![{shown.main} against images per second and MACs](trade_off.png)" if has_costs else "",
        *found.sections(folder),
        "## Training",
        f"![training loss and {shown.main}](training.png)",
        "## Images",
        *found.images(folder, images),
    ]
    with own_path(folder / "report.md") as part:
        part.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return folder / "report.md"


def _overall_table(runs: Sequence[Run], findings: Findings) -> str:
    main, found = runs[0].shown.main, findings.overall()
    rows = [found[run.name] for run in runs]
    columns = {
        findings.kind: [run.name for run in runs],
        "iterations": [run.iterations for run in runs],
        "time": [_duration(run.seconds) for run in runs],
    }
    for key in findings.columns:
        columns[key] = [metric(row[key]) for row in rows if key in row]
    first, *others = (row[main] for row in rows)
    if first:
        drops = [f"{accuracy_drop_rate(first, accuracy):.1f}" for accuracy in others]
        columns[f"{main} drop, %"] = ["", *drops]
    columns["MACs, G"] = [f"{run.macs / 1e9:.3g}" if run.macs else "" for run in runs]
    speeds = [run.images_per_second for run in runs]
    columns["images/s"] = [speed(number) if number else "" for number in speeds]
    known = {title: values for title, values in columns.items() if any(values)}
    return table(list(known), [list(row) for row in zip(*known.values(), strict=True)])


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
