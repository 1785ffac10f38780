"""Run a paper's quick benchmark: train what it compares, write the report.

The first model (a teacher, FeatureSR's base) is trained with the first seed. The students, which
start from its weights or learn from it, are trained with every seed. ThumbDet's and FeatureSR's
first model is also trained further, for as many iterations as a student: always where the report
has the share of a gap that is closed, else with ``--all``. BottomHeavy has no first model. Recipes
for generated data were chosen on its validation split with seed 0; reported are results on the test
split with other seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from lowres_d2.analysis import (
    REPORT_FILES,
    Point,
    plot_trade_off,
    write_report,
)
from lowres_d2.analysis.findings import findings_kind
from lowres_d2.analysis.gains import gain_sentence
from lowres_d2.analysis.seed_summary import (
    SeedResult,
    cost_table,
    prepared_table,
    summary_table,
)
from lowres_d2.evaluation.shown import ShownMetrics
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command_lines.reproduce import parse
from lowres_d2.programs.measured_runs import measure_runs
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.quick_benchmarks import BENCHMARKS, Benchmark, folder_name
from lowres_d2.programs.recipe_runs import RecipeRun, check_runs, runs_of
from lowres_d2.programs.reproduce_figures import write_sheets

from detectron2.config import instantiate


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; what a former call finished is not done again."""
    args = parse(arguments)
    benchmark = BENCHMARKS[args.benchmark]
    seeds = range(1, args.seeds + 1)
    run_reporting_mistakes(lambda: reproduce(benchmark, args.output, seeds, args.all, args.opts))


def reproduce(
    benchmark: Benchmark,
    output: Path,
    seeds: Sequence[int],
    with_variants: bool = False,
    overrides: Sequence[str] = (),
) -> Path:
    """Train what is not done, and write the report.

    Args:
        benchmark: which recipes.
        output: folder; each seed gets a folder in it.
        seeds: for initial weights and order of the images.
        with_variants: train those of ``benchmark.variants``, and the first detector on, where that
            is a control, too.
        overrides: ``key=value`` for all recipes.

    Returns:
        Path of ``report.md``.
    """
    check_own(_report_files(benchmark, output, seeds))
    common = ["dataloader.test.dataset.split=test", *overrides]
    shared = shared_runs(benchmark, output, [f"train.seed={seeds[0]}", *common])
    if not (benchmark.closes_gap or with_variants):
        shared = shared[:1]
    rows = {**benchmark.students, **(benchmark.variants if with_variants else {})}
    first = [f"{benchmark.weights_key}={run.weights}" for run in shared[:1]]
    rows = {**benchmark.prepared, **rows}
    of_seed = {
        seed: runs_of(rows, output / f"seed{seed}", first, [f"train.seed={seed}", *common])
        for seed in seeds
    }
    for run in chain.from_iterable(of_seed.values()):
        run.check_folder()
    check_runs([*shared, *of_seed[seeds[0]]])  # those of other seeds differ by the seed alone
    number = len(benchmark.prepared)
    prepared = {seed: runs[:number] for seed, runs in of_seed.items()}
    students = {seed: runs[number:] for seed, runs in of_seed.items()}
    results = [_seed_result(run, seeds[0]) for run in shared]
    networks = _prepared_table(prepared)
    results += [_seed_result(run, seed) for seed in seeds for run in students[seed]]
    report = _write(benchmark, output, shared, students, results, networks, prepared[seeds[0]])
    print(f"report: {report}")
    return report


def _report_files(benchmark: Benchmark, output: Path, seeds: Sequence[int]) -> list[Path]:
    files = [output / name for name in ("report.md", "trade_off.png")]
    files += [output / f"{name}.png" for name in benchmark.sheets]
    return files + [output / f"seed{seed}" / name for seed in seeds for name in REPORT_FILES]


def shared_runs(benchmark: Benchmark, output: Path, overrides: Sequence[str]) -> list[RecipeRun]:
    """The first model and the same trained further, where there are recipes for them."""
    if not benchmark.first:
        return []
    folder = output / folder_name(benchmark.first_title)
    first = RecipeRun(benchmark.first_title, benchmark.first, folder, overrides)
    if not benchmark.longer:
        return [first]
    more = [f"train.init_checkpoint={first.weights}", *overrides]
    return [first, RecipeRun(benchmark.longer_title, benchmark.longer, output / "longer", more)]


def _seed_result(run: RecipeRun, seed: int) -> SeedResult:
    finished = run.finish()
    return SeedResult(run.title, seed, finished.results[run.shown.task], finished.core_seconds)


def _write(
    benchmark: Benchmark,
    output: Path,
    shared: Sequence[RecipeRun],
    students: dict[int, list[RecipeRun]],
    results: Sequence[SeedResult],
    networks: Sequence[str],
    prepared: Sequence[RecipeRun],
) -> Path:
    """The report, and its path; ``networks``: table of the prepared networks, if there are any."""
    # ThumbDet's teacher is the full-resolution detector at an earlier time.
    compared = shared[1:] if benchmark.closes_gap and benchmark.longer else shared
    first = next(iter(students))
    models = [*compared, *students[first]]
    dataset = instantiate(models[0].config().dataloader.test.dataset)
    shown = models[0].shown
    for seed, runs in students.items():
        reported = [run.reported(run.finish()) for run in (*compared, *runs)]
        write_report(output / f"seed{seed}", reported, dataset, f"{benchmark.title}, seed {seed}")
    sheets = write_sheets(benchmark, output, [*models, *prepared], dataset)
    points, machine_used = _measured(models, dataset, results, shown)
    plot_trade_off(points, output / "trade_off.png", machine_used, shown.main)
    gap = (
        f" Gap closed: share of the distance from {benchmark.baseline} to {benchmark.full_title}."
        if benchmark.closes_gap
        else f" Gain: against {benchmark.baseline}."
    )
    sizes = " Size ranges are in pixels of the original image." if shown.size_ranges else ""
    by_size = f", {shown.main} by size" if shown.size_ranges else ""
    text = "\n\n".join(
        [
            f"# {benchmark.title}",
            f"{benchmark.data}, {len(dataset)} test images; {len(students)} seed(s), mean ± "
            f"standard deviation.{sizes}{gap}",
            summary_table(
                results,
                shown,
                benchmark.baseline,
                benchmark.full_title if benchmark.closes_gap else None,
            ),
            *_gains(benchmark, shared, students, dataset, shown),
            *networks,
            f"One image at a time on {machine_used}: downsampling, network and post-processing.",
            cost_table(points),
            f"![{shown.main} against images per second](trade_off.png)",
            *sheets,
            f"Each seed's curves{by_size} and images: "
            + ", ".join(f"[seed {seed}](seed{seed}/report.md)" for seed in students),
        ]
    )
    report = output / "report.md"
    with own_path(report) as beside:
        beside.write_text(text + "\n", encoding="utf-8")
    return report


def _prepared_table(prepared: Mapping[int, Sequence[RecipeRun]]) -> list[str]:
    """Table of the networks that students use, in a list; empty where there are none."""
    results = [_seed_result(run, seed) for seed, runs in prepared.items() for run in runs]
    runs = next(iter(prepared.values()))
    return [prepared_table(results, runs[0].shown)] if runs else []


def _gains(
    benchmark: Benchmark,
    shared: Sequence[RecipeRun],
    students: dict[int, list[RecipeRun]],
    dataset: Sequence[Mapping],
    shown: ShownMetrics,
) -> list[str]:
    """The method against the baseline, and other pairs, over all seeds."""
    runs = [*shared, *(run for of_seed in students.values() for run in of_seed)]
    read = findings_kind(shown.task).read
    sentences = []
    for pair in [(benchmark.method, benchmark.baseline), *benchmark.also_compared]:
        better, worse = (
            [read(run.evaluator, dataset, run.predictions) for run in runs if run.title == title]
            for title in pair
        )
        if better and worse:  # variants are trained on request only
            sentences.append(gain_sentence(pair[0], better, pair[1], worse, shown.main))
    return sentences


def _measured(
    runs: Sequence[RecipeRun],
    dataset: Sequence[Mapping],
    results: Sequence[SeedResult],
    shown: ShownMetrics,
) -> tuple[list[Point], str]:
    """Accuracy over seeds and speed of each model, and the machine that measured the speed."""
    found = {
        run.title: [r.accuracies[shown.main] for r in results if r.name == run.title]
        for run in runs
    }
    means = {name: statistics.fmean(accuracies) for name, accuracies in found.items()}
    points, machine_used = measure_runs(runs, dataset, means)
    deviations = {n: statistics.stdev(values) for n, values in found.items() if len(values) > 1}
    return [replace(p, accuracy_std=deviations.get(p.name)) for p in points], machine_used
