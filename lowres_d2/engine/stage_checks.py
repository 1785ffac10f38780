"""Checks at the end of a stage (``Stage.check``)."""

from __future__ import annotations

from typing import Any

from lowres_d2.modeling import LowResDetector

from detectron2.utils import comm
from torch import nn


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
        resampler = model.resampler if isinstance(model, LowResDetector) else nn.Module()
        parts = {n: m for n, m in resampler.named_modules() if hasattr(m, "dead_channels")}
        if not parts:
            raise ValueError(
                "NoDeadChannels: the model has no learned downsampler: remove the stage's check"
            )
        images = [x["image"].to(model.device).float() / 255 for x in batch]
        for name, part in parts.items():
            dead = set.intersection(*map(set, comm.all_gather(part.dead_channels(images))))
            if dead:
                place = f"model.resampler.{name}".rstrip(".")
                raise ValueError(
                    f"{place}: channels {sorted(dead)} of the thumbnails are dead (zero on every "
                    "image): initialize it with init='box', or use another train.seed or a lower "
                    "learning rate"
                )
