"""Evaluate an exponential moving average of the weights in their place (config: ``train.ema``)."""

from __future__ import annotations

from typing import Any

from detectron2.engine import HookBase
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage(HookBase):
    """Updates ``average = decay * average + (1 - decay) * weights`` after every iteration.

    Buffers (batch-norm statistics) are averaged too. A frozen teacher is shared, not copied.

    Args:
        model: the model without its distributed wrapper.
        decay: number in (0, 1); 0.999 averages over about 1000 iterations.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"train.ema.decay={decay}: expected a number between 0 and 1")
        self._source = model
        average = get_ema_multi_avg_fn(decay)
        self._average = AveragedModel(model, multi_avg_fn=average, use_buffers=True)

    @property
    def model(self) -> nn.Module:
        """The averaged model, to evaluate with."""
        return self._average.module

    def after_step(self) -> None:
        self._average.update_parameters(self._source)

    def restart(self) -> None:
        """Forget the average: the next update copies the weights. Needed after loading weights."""
        self._average.n_averaged.zero_()

    def weights(self) -> AveragedModel:
        """The part of a checkpoint under ``ema``."""
        return self._average

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the checkpoint stores :meth:`weights` itself."""
        return {}
