"""Check at the start that the metric a recipe names is one that its evaluator reports."""

from __future__ import annotations

from difflib import get_close_matches

from lowres_d2.evaluation.shown import ShownMetrics

from detectron2.evaluation import DatasetEvaluator
from omegaconf import DictConfig

KEY = "train.best.val_metric"


def check_metric(cfg: DictConfig, evaluator: DatasetEvaluator) -> None:
    """Raise if ``train.best.val_metric`` would never have a value.

    An evaluator without ``metric_objects()``, such as Detectron2's own, does not say its metrics:
    with it, the first evaluation warns.

    Args:
        cfg: the recipe.
        evaluator: its evaluator, built.

    Raises:
        ValueError: the evaluator has no such metric, or no object to measure it on; or the metric
            is an error, of which the largest value would be kept as the best.
    """
    if not hasattr(evaluator, "metric_objects"):
        return
    known, name = evaluator.metric_objects(), cfg.train.best.val_metric
    if name not in known:
        near = get_close_matches(name, known, 3, cutoff=0.5)
        some = ", ".join(list(known)[:8])
        hint = f"nearest: {', '.join(near)}" if near else f"it has {some}, ..."
        raise ValueError(f"{KEY}={name}: the evaluator has no such metric; {hint}")
    if getattr(evaluator, "is_error", lambda name: False)(name) and cfg.train.best.mode != "min":
        raise ValueError(f"{KEY}={name}: is an error, of which 0 is best: set train.best.mode=min")
    # Of a test set without any objects nothing is measured, which is said elsewhere.
    if not known[name] and any(known.values()):
        raise ValueError(
            f"{KEY}={name}: the test set has no object that it is measured on (0 GT): choose "
            f"another metric, such as {ShownMetrics.of(evaluator).names[0]}"
        )
