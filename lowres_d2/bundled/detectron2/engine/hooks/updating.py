"""Hooks that change the model's or optimizer's numbers: learning rate, batch-norm statistics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from detectron2.engine.trainer_base import HookBase
from detectron2.solver import LRMultiplier
from detectron2.solver import LRScheduler as _TorchLRScheduler
from detectron2.utils.events import EventStorage
from fvcore.common.param_scheduler import ParamScheduler
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch import nn

logger = logging.getLogger(__name__)


class LRScheduler(HookBase):
    """Step a schedule after each iteration and record the rate that the iteration used as ``lr``.

    Args:
        optimizer: None takes the trainer's.
        scheduler: a torch scheduler, or an fvcore ``ParamScheduler`` that multiplies the
            optimizer's rates over the whole training; None takes the trainer's.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: _TorchLRScheduler | ParamScheduler | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._scheduler = scheduler

    @property
    def scheduler(self) -> _TorchLRScheduler | ParamScheduler:
        return self._scheduler or self.trainer.scheduler  # type: ignore[attr-defined]

    def before_train(self) -> None:
        self._optimizer = self._optimizer or self.trainer.optimizer  # type: ignore[attr-defined]
        if isinstance(self.scheduler, ParamScheduler):
            self._scheduler = LRMultiplier(
                self._optimizer,
                self.scheduler,
                self.trainer.max_iter,
                last_iter=self.trainer.iter - 1,
            )
        self._group = self.get_best_param_group_id(self._optimizer)

    @staticmethod
    def get_best_param_group_id(optimizer: torch.optim.Optimizer) -> int:
        """Index of the group whose rate stands for all: the largest, or the most common rate.

        Args:
            optimizer: with one or more parameter groups.
        """
        groups = optimizer.param_groups
        sizes = [len(group["params"]) for group in groups]
        if max(sizes) > 1:
            return sizes.index(max(sizes))
        rates = [group["lr"] for group in groups]
        return rates.index(Counter(rates).most_common(1)[0][0])

    def after_step(self) -> None:
        rate = self._optimizer.param_groups[self._group]["lr"]
        self.trainer.storage.put_scalar("lr", rate, smoothing_hint=False)
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        if isinstance(self.scheduler, _TorchLRScheduler):
            return self.scheduler.state_dict()
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore a torch scheduler; a ``ParamScheduler`` follows from the iteration.

        Args:
            state_dict: what ``state_dict`` gave.
        """
        if isinstance(self.scheduler, _TorchLRScheduler):
            self.scheduler.load_state_dict(state_dict)


class PreciseBN(HookBase):
    """Replace running batch-norm statistics by averages over many batches, before evaluation.

    Only layers in training mode take part. Register it before ``EvalHook``.

    Args:
        period: iterations between updates; 0 for one at the end of training.
        model: its batch-norm layers are updated.
        data_loader: yields batches; iterated once, each update continues where the last ended.
        num_iter: batches per update.
    """

    def __init__(
        self, period: int, model: nn.Module, data_loader: Iterable[Any], num_iter: int
    ) -> None:
        self._period = period
        self._model = model
        self._data_loader = data_loader
        self._num_iter = num_iter
        self._batches: Iterator[Any] | None = None
        self._disabled = not get_bn_modules(model)
        if self._disabled:
            logger.info("PreciseBN does nothing: the model has no batch norm in training mode")

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self._period > 0 and done % self._period == 0):
            self.update_stats()

    def update_stats(self) -> None:
        """Run the batches and set the statistics."""
        if self._disabled:
            return
        if self._batches is None:
            self._batches = iter(self._data_loader)
        # What the model logs in these passes is not training: it goes to a storage of its own.
        with EventStorage():
            logger.info(f"Batch-norm statistics from {self._num_iter} batches ...")
            update_bn_stats(self._model, self._batches, self._num_iter)
