"""Train a detector at full and at quarter resolution, and report on both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowres_d2.analysis.report import REPORT_FILES, write_report
from lowres_d2.own_files import check_own
from lowres_d2.programs.command_lines.quickstart import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.quick_benchmarks import BENCHMARKS
from lowres_d2.programs.recipe_runs import RecipeRun, check_runs

from detectron2.config import instantiate

# The detector at full resolution; it becomes the teacher of those at 4x.
FULL = ("full resolution", "configs/quick/full_fcos_small_256_plates.py")
# They start as the teacher. Shorter runs leave their order to chance.
ITERATIONS = 1300
STUDENTS = {
    f"{title} 4x": BENCHMARKS["thumbdet"].students[title].recipe
    for title in ("bicubic", "learned", "learned + distillation")
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: quickstart(args.output, args.opts))


def quickstart(output: Path, overrides: Sequence[str] = ()) -> Path:
    """Train the recipes that have not been trained before, and write the report.

    Args:
        output: folder; each recipe gets a folder in it.
        overrides: ``key=value`` for all recipes.

    Returns:
        Path of ``report.md``.
    """
    check_own(output / name for name in REPORT_FILES)
    runs = quickstart_runs(output, overrides)
    check_runs(runs)
    reported = [run.reported(run.finish()) for run in runs]
    dataset = instantiate(runs[0].config().dataloader.test.dataset)
    report = write_report(
        output, reported, dataset, title="Quickstart: full and quarter resolution"
    )
    print(f"report: {report}")
    return report


def quickstart_runs(output: Path, overrides: Sequence[str] = ()) -> list[RecipeRun]:
    """The detector at full resolution, then its students.

    Args:
        output: folder; each recipe gets a folder in it.
        overrides: ``key=value`` for all recipes.
    """
    full = RecipeRun(*FULL, output / Path(FULL[1]).stem, overrides)
    runs = [full]
    for title, recipe in STUDENTS.items():
        more = [f"model.teacher.checkpoint={full.weights}", f"train.max_iter={ITERATIONS}"]
        runs.append(RecipeRun(title, recipe, output / Path(recipe).stem, [*more, *overrides]))
    return runs
