"""The training iteration of one model and one optimizer, plain and in mixed precision.

Metrics are Python floats, averaged over ranks; a batch counts in the iteration it was used in.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from detectron2.engine.trainer_base import HookBase, TrainerBase
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

__all__ = ["AMPTrainer", "HookBase", "SimpleTrainer", "TrainerBase"]


class SimpleTrainer(TrainerBase):
    """One model, one optimizer, one loader: losses are summed and stepped on.

    Args:
        model: called with a batch; returns one loss or a dict of losses.
        data_loader: yields batches forever.
        optimizer: a torch optimizer.
        gather_metric_period: iterations between collecting losses over ranks, which waits for all.
        zero_grad_before_forward: clear gradients before the forward pass instead of after it.
        async_write_metrics: collect losses in a thread, so that the device is not waited for.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        gather_metric_period: int = 1,
        zero_grad_before_forward: bool = False,
        async_write_metrics: bool = False,
    ) -> None:
        super().__init__()
        # Evaluation in between must restore this; it is not set again every iteration, so that
        # hooks may keep single modules in eval mode.
        model.train()
        self.model = model
        self.data_loader = data_loader
        self.optimizer = optimizer
        self.gather_metric_period = gather_metric_period
        self.zero_grad_before_forward = zero_grad_before_forward
        self.async_write_metrics = async_write_metrics
        self._data_loader_iter_obj: Iterator[Any] | None = None
        self.concurrent_executor = (
            ThreadPoolExecutor(max_workers=1) if async_write_metrics else None
        )
        self._pending_writes: list[Future] = []

    @property
    def _data_loader_iter(self) -> Iterator[Any]:
        # Made on first use: worker processes start only when training does.
        if self._data_loader_iter_obj is None:
            self._data_loader_iter_obj = iter(self.data_loader)
        return self._data_loader_iter_obj

    def reset_data_loader(self, data_loader_builder: Callable[[], Iterable[Any]]) -> None:
        """Drop the loader, then make another; the two never live at once.

        Args:
            data_loader_builder: makes the new loader.
        """
        self.data_loader = self._data_loader_iter_obj = None  # type: ignore[assignment]
        self.data_loader = data_loader_builder()

    def run_step(self) -> None:
        if not self.model.training:
            raise RuntimeError(f"{type(self).__name__}: the model was left in eval mode")
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start

        if self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        with self._forward_context():
            output = self.model(data)
        losses = {"total_loss": output} if isinstance(output, torch.Tensor) else output
        total = sum(losses.values())
        if not self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        self._backward(total)
        self.after_backward()
        self._record(losses, data_time)
        self._optimizer_step()

    def _forward_context(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def _backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def _optimizer_step(self) -> None:
        self.optimizer.step()

    def _record(self, losses: Mapping[str, torch.Tensor], data_time: float) -> None:
        if self.concurrent_executor is None:
            self._write_metrics(losses, data_time)
            return
        write = self.concurrent_executor.submit(
            self._write_metrics, losses, data_time, iter=self.iter
        )
        # An error in the thread (a non-finite loss) must stop training, one iteration late.
        self._pending_writes.append(write)
        while self._pending_writes and self._pending_writes[0].done():
            self._pending_writes.pop(0).result()

    def after_train(self) -> None:
        try:
            while self._pending_writes:
                self._pending_writes.pop(0).result()
        finally:
            super().after_train()

    def _write_metrics(
        self,
        loss_dict: Mapping[str, torch.Tensor],
        data_time: float,
        prefix: str = "",
        iter: int | None = None,
    ) -> None:
        iteration = self.iter if iter is None else iter
        if (iteration + 1) % self.gather_metric_period == 0:
            SimpleTrainer.write_metrics(loss_dict, data_time, iteration, prefix)

    @staticmethod
    def write_metrics(
        loss_dict: Mapping[str, torch.Tensor], data_time: float, cur_iter: int, prefix: str = ""
    ) -> None:
        """Average losses over ranks and put them into the current event storage.

        Args:
            loss_dict: scalar tensors by name.
            data_time: seconds that this rank waited for its batch; the slowest rank counts.
            cur_iter: the iteration they belong to.
            prefix: put before ``total_loss``.
        """
        metrics = {name: loss.detach().cpu().item() for name, loss in loss_dict.items()}
        gathered = comm.gather((metrics, data_time))
        if not comm.is_main_process():
            return
        storage = get_event_storage()
        storage.put_scalar("data_time", max(wait for _, wait in gathered), cur_iter=cur_iter)
        means = {
            name: sum(values[name] for values, _ in gathered) / len(gathered) for name in metrics
        }
        total = sum(means.values())
        if not math.isfinite(total):
            raise FloatingPointError(
                f"The loss is {total} in iteration {cur_iter}; its parts are {means}. Lower the "
                "learning rate, clip gradients, or look for invalid ground-truth boxes"
            )
        storage.put_scalar(f"{prefix}total_loss", total, cur_iter=cur_iter)
        if len(means) > 1:
            storage.put_scalars(cur_iter=cur_iter, **means)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])


class AMPTrainer(SimpleTrainer):
    """``SimpleTrainer`` under autocast with loss scaling.

    On the CPU the forward pass runs in bfloat16 whatever ``precision`` says (float16 has no fast
    kernels there) and losses are not scaled, as bfloat16 has float32's range.

    Args:
        model: as in ``SimpleTrainer``; must be on its device already.
        data_loader: as in ``SimpleTrainer``.
        optimizer: as in ``SimpleTrainer``.
        gather_metric_period: as in ``SimpleTrainer``.
        zero_grad_before_forward: as in ``SimpleTrainer``.
        grad_scaler: a torch GradScaler; None makes one.
        precision: dtype of autocast on the GPU.
        log_grad_scaler: put the scale into the event storage as ``[metric]grad_scaler``.
        async_write_metrics: as in ``SimpleTrainer``.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        gather_metric_period: int = 1,
        zero_grad_before_forward: bool = False,
        grad_scaler: torch.amp.GradScaler | None = None,
        precision: torch.dtype = torch.float16,
        log_grad_scaler: bool = False,
        async_write_metrics: bool = False,
    ) -> None:
        several = isinstance(model, DistributedDataParallel) and len(model.device_ids or ()) > 1
        if several or isinstance(model, DataParallel):
            raise ValueError("AMPTrainer: one process drives one device; start more processes")
        super().__init__(
            model,
            data_loader,
            optimizer,
            gather_metric_period,
            zero_grad_before_forward,
            async_write_metrics,
        )
        parameter = next(model.parameters(), None)
        self._device_type = "cpu" if parameter is None else parameter.device.type
        on_cpu = self._device_type == "cpu"
        self.grad_scaler = grad_scaler or torch.amp.GradScaler(
            self._device_type, enabled=not on_cpu
        )
        self.precision = torch.bfloat16 if on_cpu else precision
        self.log_grad_scaler = log_grad_scaler

    def _forward_context(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self._device_type, dtype=self.precision)

    def _backward(self, loss: torch.Tensor) -> None:
        self.grad_scaler.scale(loss).backward()
        if self.log_grad_scaler:
            get_event_storage().put_scalar("[metric]grad_scaler", self.grad_scaler.get_scale())

    def _optimizer_step(self) -> None:
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        # A run on the CPU or without AMP leaves no scale behind; the scaler then starts afresh.
        if state_dict.get("grad_scaler"):
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
