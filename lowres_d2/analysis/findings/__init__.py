"""What reports say of runs, by the task of their evaluator."""

from collections.abc import Mapping, Sequence

from lowres_d2.analysis.findings.base import Findings
from lowres_d2.analysis.findings.boxes import BoxFindings
from lowres_d2.analysis.findings.classes import ClassFindings
from lowres_d2.analysis.run import Run
from lowres_d2.evaluation.classification import TASK

__all__ = ["Findings", "findings_kind", "findings_of"]

_KINDS: dict[str, type[Findings]] = {"bbox": BoxFindings, TASK: ClassFindings}


def findings_kind(task: str) -> type[Findings]:
    """The findings of a task's runs.

    Args:
        task: key of the evaluator's results.

    Raises:
        ValueError: there are none for that task.
    """
    if task not in _KINDS:
        raise ValueError(
            f"results of {task!r} cannot be reported: expected an evaluator with a main_metric of "
            f"{', '.join(_KINDS)}"
        )
    return _KINDS[task]


def findings_of(runs: Sequence[Run], dataset: Sequence[Mapping]) -> Findings:
    """Findings of runs that were evaluated on the same data set.

    Raises:
        ValueError: the runs are of several tasks, or cannot be compared.
    """
    (first, task), *others = ((run.name, run.shown.task) for run in runs)
    for name, other in others:
        if other != task:
            raise ValueError(
                f"runs {first!r} and {name!r} cannot be compared: their results are of {task} and "
                f"{other}"
            )
    return findings_kind(task)(runs, dataset)
