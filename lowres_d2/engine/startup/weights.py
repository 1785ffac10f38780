"""Did enough of the weights arrive? Asked before the first step."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

from lowres_d2.modeling.weights import LoadReport

LEAST_USED = 0.99  # share of a file's tensors
FLAG = "--allow-partial"
# A class predictor's: of other classes, so left over on purpose. So are objectives, which are for
# training only. 'fc1000_w' is Caffe2's.
_LEFT_OVER = re.compile(
    r"^objectives\."
    r"|(^|\.)(fc(1000)?|linear|classifier|cls_score|box_predictor|class_heads?|class_embed)[._]"
)
_SHOWN_PARTS = 4


def unfit_tensors(report: LoadReport) -> list[str]:
    """Tensors of the file that should have been used and were not."""
    return [n for n in (*report.unexpected, *report.misshapen) if not _LEFT_OVER.search(n)]


def check_used(report: LoadReport, allow_partial: bool = False) -> None:
    """Raise where a run would start without a good part of the weights that it was given.

    Args:
        report: of loading the initial weights.
        allow_partial: any part will do.

    Raises:
        ValueError: less than 99 % of the file's tensors were used or left over on purpose.
    """
    unfit = unfit_tensors(report)
    if not allow_partial and len(unfit) > (1 - LEAST_USED) * report.of_file:
        more = ", ..." if len(unfit) > 3 else ""
        raise ValueError(
            f"{report.path}: {len(unfit)} of its {report.of_file} tensors have no place in the "
            f"model ({', '.join(unfit[:3])}{more}): give weights of this model, or {FLAG} to take "
            "what fits"
        )


def check_complete(report: LoadReport) -> None:
    """Raise where a run would continue without tensors of its model, or of its checkpoint.

    Raises:
        ValueError: names the file and the tensors.
    """
    if report.matched < report.total or report.unexpected:
        raise ValueError(
            f"{report}: a run continues with all of them; resume with the recipe it was made with, "
            "or start without --resume"
        )


def describe_weights(report: LoadReport) -> str:
    """One line: how many matched, of which file, what is new to the model, what is left over."""
    text = f"{report.matched} of {report.total} tensors ({report.path}{_which(report)})"
    unfit = unfit_tensors(report)
    left_over = len(report.unexpected) + len(report.misshapen) - len(unfit)
    new = [*report.missing, *report.misshapen]
    for words, number, names in (
        ("new", len(new), new),
        ("left over on purpose", left_over, []),
        ("UNUSED", len(unfit), unfit),
    ):
        if number:
            text += f"; {words}: {number}" + (f" ({_parts(names)})" if names else "")
    return text


def _which(report: LoadReport) -> str:
    """What tells files of one name apart: the steps of their run and the start of their SHA-256."""
    words = "" if report.steps is None else f", step {report.steps:,}"
    if not Path(report.path).is_file():  # an address
        return words
    digest = hashlib.sha256()
    with open(report.path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return f"{words}, sha256 {digest.hexdigest()[:8]}"


def _parts(names: list[str]) -> str:
    """``head.cls_score 2, resampler 4``: the parts of a model that tensors belong to."""
    parts = Counter(".".join(name.removeprefix("detector.").split(".")[:2]) for name in names)
    shown = [f"{part} {number}" for part, number in parts.most_common(_SHOWN_PARTS)]
    return ", ".join([*shown, "..."] if len(parts) > _SHOWN_PARTS else shown)
