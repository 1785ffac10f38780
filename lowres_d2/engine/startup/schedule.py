"""Batch, learning rate and stages of a run in words, and the rule that ties the first two.

SGD's rate grows with the batch (Goyal et al. 2017), Adam's with its square root (Malladi et al.
2022). What it grows from is the recipe as it is written: rate and batch belong together there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowres_d2.engine.stages import Stage

from omegaconf import DictConfig, OmegaConf

BATCH, RATE = "dataloader.train.total_batch_size", "optimizer.lr"
# How far from the rule a rate is warned of, in either direction.
_TOLERANCE = 1.99
_SHOWN_PATTERNS = 2


def describe_rate(cfg: DictConfig, own: DictConfig | None, start: int = 0) -> str:
    """Images a step, steps, epochs, and the rate beside the one that the rule gives.

    Args:
        cfg: the recipe, data sets built.
        own: as it is without changes from the command line.
        start: first step to run.
    """
    batch, steps = OmegaConf.select(cfg, BATCH), cfg.train.max_iter
    text = f"{start:,} to {steps:,}" if start else f"{steps:,}"
    if batch:
        images = len(cfg.dataloader.train.dataset)
        text += f" of {batch} images ({batch * steps / images:.1f} epochs)"
    rate = OmegaConf.select(cfg, RATE)
    text += f", {_name(cfg)}" + ("" if rate is None else f" with rate {rate:g}")
    ruled = _ruled(cfg, own)
    if ruled is not None:
        own_batch, own_rate, expected = ruled
        own_steps = own.train.max_iter
        text += (
            f"; the recipe's {own_rate:g} is for {own_batch} images: for {batch} "
            f"{_rule(cfg)[1]} gives {expected:g}, and {round(own_steps * own_batch / batch):,} "
            f"steps are as many epochs as its {own_steps:,}"
        )
    return text


def rate_warning(cfg: DictConfig, own: DictConfig | None) -> str:
    """What to change where the rate is twice or half what the rule gives; else nothing."""
    ruled = _ruled(cfg, own)
    if ruled is None:
        return ""
    rate, expected = OmegaConf.select(cfg, RATE), ruled[2]
    if 1 / _TOLERANCE < rate / expected < _TOLERANCE:
        return ""
    return (
        f"{BATCH} was changed from {ruled[0]} to {OmegaConf.select(cfg, BATCH)} and the rate is "
        f"{rate / expected:.2g} times what {_rule(cfg)[1]} gives: set {RATE}={expected:g}"
    )


def describe_stages(stages: Sequence[Stage]) -> str:
    """Each stage with its length, what trains and what counts; nothing for a run without."""
    return "; ".join(
        f"{stage.name} {stage.iterations:,} steps (trains {_patterns(stage.trainable)}, losses "
        f"{_patterns(stage.losses)})"
        for stage in stages
    )


def _ruled(cfg: DictConfig, own: DictConfig | None) -> tuple[int, float, float] | None:
    """The recipe's own batch and rate, and the rate for this batch; None where it is the same."""
    if own is None:
        return None
    batches = [OmegaConf.select(c, BATCH) for c in (cfg, own)]
    rates = [OmegaConf.select(c, RATE) for c in (cfg, own)]
    if not all(rates) or not all(batches) or batches[0] == batches[1]:
        return None
    power, _ = _rule(cfg)
    expected = rates[1] * (batches[0] / batches[1]) ** power
    return batches[1], rates[1], float(f"{expected:.3g}")


def _rule(cfg: DictConfig) -> tuple[float, str]:
    adam = "adam" in _name(cfg).lower()
    return (0.5, "the square-root rule") if adam else (1.0, "the linear rule")


def _name(cfg: DictConfig) -> str:
    target: Any = cfg.optimizer._target_
    return target.rsplit(".", 1)[-1] if isinstance(target, str) else target.__name__


def _patterns(patterns: Sequence[str]) -> str:
    if tuple(patterns) == ("*",):
        return "all"
    more = ", ..." if len(patterns) > _SHOWN_PATTERNS else ""
    return ", ".join(patterns[:_SHOWN_PATTERNS]) + more
