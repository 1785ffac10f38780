"""Checks of learned thumbnails in training: at the end of a stage, and at every evaluation."""

from __future__ import annotations

import logging
from typing import Any

from lowres_d2.modeling import LowResDetector

from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn

logger = logging.getLogger(__name__)


class NoDeadChannels:
    """No colour channel of a learned downsampler's thumbnails is zero everywhere.

    Behind the downsampler's last ReLU such a channel gets no gradient and never recovers.
    """

    def __call__(self, model: nn.Module, batch: list[dict[str, Any]]) -> None:
        """
        Args:
            model: a composition whose resampler, or a module in it, has ``dead_channels``.
            batch: training inputs; ``image`` is (C, H, W) in 0 to 255.

        Raises:
            ValueError: there is nothing to check, or a channel is dead on the images of all
                processes.
        """
        parts = _learned(model)
        if not parts:
            raise ValueError(
                "NoDeadChannels: the model has no learned downsampler: remove the stage's check"
            )
        for place, dead in _dead_channels(parts, model, batch).items():
            raise ValueError(
                f"{_text(place, dead)}: initialize it with init='box', or use another train.seed "
                "or a lower learning rate"
            )


class DeadChannelWarning(HookBase):
    """Warns of dead channels that a learned downsampler gets after the check of its stage.

    Args:
        model: the model without its distributed wrapper.
        period: iterations between two checks, those of evaluations; the last iteration is checked
            in any case.
    """

    def __init__(self, model: nn.Module, period: int) -> None:
        self._model, self._period = model, period
        self._parts = _learned(model)
        self._batch: list[dict[str, Any]] = []
        if self._parts:
            model.register_forward_pre_hook(self._see_batch)

    def _see_batch(self, model: nn.Module, arguments: tuple[Any, ...]) -> None:
        if model.training:
            self._batch = arguments[0]

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        at_period = self._period > 0 and done % self._period == 0
        if not self._parts or not (at_period or done == self.trainer.max_iter):
            return
        dead = _dead_channels(self._parts, self._model, self._batch)
        # 0 too, so that a curve shows when it happened.
        self.trainer.storage.put_scalar(
            "dead_channels", sum(map(len, dead.values())), smoothing_hint=False
        )
        for place, channels in dead.items():
            logger.warning(
                "%s, and get no gradient any more: the detector has to do without them; another "
                "train.seed or a lower learning rate of the downsampler may avoid it",
                _text(place, channels),
            )


def _learned(model: nn.Module) -> dict[str, nn.Module]:
    """The learned downsamplers of a model, by their places in a recipe."""
    resampler = model.resampler if isinstance(model, LowResDetector) else nn.Module()
    return {
        f"model.resampler.{name}".rstrip("."): module
        for name, module in resampler.named_modules()
        if hasattr(module, "dead_channels")
    }


def _dead_channels(
    parts: dict[str, nn.Module], model: nn.Module, batch: list[dict[str, Any]]
) -> dict[str, list[int]]:
    """Channels that are dead on the images of all processes, of the parts that have any."""
    images = [x["image"].to(model.device).float() / 255 for x in batch]
    found = {}
    for place, part in parts.items():
        dead = set.intersection(*map(set, comm.all_gather(part.dead_channels(images))))
        if dead:
            found[place] = sorted(dead)
    return found


def _text(place: str, channels: list[int]) -> str:
    return f"{place}: channels {channels} of the thumbnails are dead (zero on every image)"
