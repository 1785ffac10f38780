"""Results as lines to paste, as flat names, and against expected values.

Results are ``{task: {metric: value}}``, such as ``{"bbox": {"AP": 41.2}}``.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from pprint import pformat
from typing import Any

logger = logging.getLogger(__name__)


def print_csv_format(results: Mapping[str, Any]) -> None:
    """Log each task's main metrics as two comma-separated lines that begin with ``copypaste:``.

    Args:
        results: metrics by task. Names with ``-`` (per category) are left out.
    """
    for task, metrics in results.items():
        if not isinstance(metrics, Mapping):
            logger.info(f"copypaste: {task}={metrics}")
            continue
        main = {name: value for name, value in metrics.items() if "-" not in name}
        logger.info(f"copypaste: Task: {task}")
        logger.info("copypaste: " + ",".join(main))
        logger.info("copypaste: " + ",".join(f"{value:.4f}" for value in main.values()))


def verify_results(cfg: Any, results: Mapping[str, Mapping[str, float]]) -> bool:
    """Compare with ``cfg.TEST.EXPECTED_RESULTS``; the process exits with 1 where they disagree.

    Args:
        cfg: expected results are ``[task, metric, value, tolerance]``.
        results: metrics by task.
    """
    wrong = []
    for task, metric, expected, tolerance in cfg.TEST.EXPECTED_RESULTS:
        actual = results.get(task, {}).get(metric)
        if actual is None or not math.isfinite(actual) or abs(actual - expected) > tolerance:
            wrong.append(f"{task}/{metric} is {actual}, expected {expected} +- {tolerance}")
    if wrong:
        logger.error("Results are not as expected: " + "; ".join(wrong))
        logger.error(f"All results:\n{pformat(results)}")
        sys.exit(1)
    if len(cfg.TEST.EXPECTED_RESULTS) > 0:
        logger.info("Results are as expected")
    return True


def flatten_results_dict(results: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a": {"b": 1}, "c": 2}`` as ``{"a/b": 1, "c": 2}``, to any depth.

    Args:
        results: a nested dict.
    """
    flat = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            inner = flatten_results_dict(value)
            flat.update({f"{name}/{below}": inner[below] for below in inner})
        else:
            flat[name] = value
    return flat
