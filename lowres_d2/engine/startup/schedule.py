"""Describe batch size, learning rate and stages of a run; check the scaling rule of the first two.

SGD's learning rate scales with the batch size (Goyal et al. 2017), Adam's with its square root
(Malladi et al. 2022). The reference is the recipe as written, whose learning rate and batch size
belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowres_d2.data import images_per_epoch
from lowres_d2.engine.stages import Stage

from omegaconf import DictConfig, OmegaConf

BATCH, RATE = "dataloader.train.total_batch_size", "optimizer.lr"
# Warn of a learning rate that is this many times too high or too low by the rule.
# Just under 2, so that exactly twice or half of it is reported.
_TOLERANCE = 1.99
_SHOWN_PATTERNS = 2


def describe_rate(cfg: DictConfig, own: DictConfig | None, start: int = 0) -> str:
    """Iterations, batch size, epochs, and the learning rate beside the one that the rule gives.

    Args:
        cfg: the recipe with its data sets built.
        own: the recipe without command-line overrides; None if there are no overrides.
        start: first iteration to run.
    """
    batch, iterations = OmegaConf.select(cfg, BATCH), cfg.train.max_iter
    text = f"{start:,} to {iterations:,}" if start else f"{iterations:,}"
    if batch:
        loader = cfg.dataloader.train
        # Another library's loader may have neither of the two keys.
        settings = {
            key: loader[key] for key in ("filter_empty", "repeat_threshold") if key in loader
        }
        images = images_per_epoch(loader.dataset, **settings)
        text += f", batch size {batch} ({batch * iterations / images:.1f} epochs)"
    rate = OmegaConf.select(cfg, RATE)
    text += f", {_name(cfg)}" + ("" if rate is None else f" with learning rate {rate:g}")
    ruled = _ruled(cfg, own)
    if ruled is not None:
        own_batch, own_rate, expected = ruled
        own_iterations = own.train.max_iter
        text += (
            f"; the recipe's learning rate {own_rate:g} is for batch size {own_batch}: for "
            f"{batch} {_rule(cfg)[1]} gives {expected:g}, and "
            f"{round(own_iterations * own_batch / batch):,} iterations are as many epochs as its "
            f"{own_iterations:,}"
        )
    return text


def rate_warning(cfg: DictConfig, own: DictConfig | None) -> str:
    """What to change if the learning rate is twice or half what the rule gives; else empty."""
    ruled = _ruled(cfg, own)
    if ruled is None:
        return ""
    rate, expected = OmegaConf.select(cfg, RATE), ruled[2]
    if 1 / _TOLERANCE < rate / expected < _TOLERANCE:
        return ""
    return (
        f"{BATCH} was changed from {ruled[0]} to {OmegaConf.select(cfg, BATCH)}, and the learning "
        f"rate is {rate / expected:.2g} times what {_rule(cfg)[1]} gives: set {RATE}={expected:g}"
    )


def describe_stages(stages: Sequence[Stage]) -> str:
    """Each stage with its length, trainable parameters and losses; empty without stages."""
    return "; ".join(
        f"{stage.name} {stage.iterations:,} iterations (trainable: {_patterns(stage.trainable)}; "
        f"losses: {_patterns(stage.losses)})"
        for stage in stages
    )


def _ruled(cfg: DictConfig, own: DictConfig | None) -> tuple[int, float, float] | None:
    """Batch size and learning rate of ``own``, and the learning rate for this batch size.

    None if the batch size was not changed.
    """
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
    return (0.5, "the square-root scaling rule") if adam else (1.0, "the linear scaling rule")


def _name(cfg: DictConfig) -> str:
    target: Any = cfg.optimizer._target_
    return target.rsplit(".", 1)[-1] if isinstance(target, str) else target.__name__


def _patterns(patterns: Sequence[str]) -> str:
    if tuple(patterns) == ("*",):
        return "all"
    more = ", ..." if len(patterns) > _SHOWN_PATTERNS else ""
    return ", ".join(patterns[:_SHOWN_PATTERNS]) + more
