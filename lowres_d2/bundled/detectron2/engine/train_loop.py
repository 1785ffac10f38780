"""The training loop: a counter with hooks around it, and the plain and mixed-precision steps.

Order within iteration k: ``before_step``, forward, backward, ``after_backward``, optimizer step,
``after_step``. During all of it ``trainer.iter == trainer.storage.iter == k``; after the last one
both are ``max_iter``. Metrics are Python floats, averaged over ranks.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from detectron2.utils import comm
from detectron2.utils.events import EventStorage, get_event_storage

__all__ = ["AMPTrainer", "HookBase", "SimpleTrainer", "TrainerBase"]


class HookBase:
    """Something done at fixed points of training; override what is needed.

    Attributes:
        trainer: the trainer it is registered with (a weak proxy), set on registration.
    """

    trainer: TrainerBase = None  # type: ignore[assignment]

    def before_train(self) -> None:
        """Called once, before the first iteration."""

    def after_train(self) -> None:
        """Called once, after the last iteration or after an exception."""

    def before_step(self) -> None:
        """Called before each iteration."""

    def after_backward(self) -> None:
        """Called between the backward pass and the optimizer step."""

    def after_step(self) -> None:
        """Called after each iteration."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep of this hook; empty for nothing."""
        return {}


class TrainerBase:
    """A loop over iterations that knows nothing of models; subclasses write ``run_step``.

    Attributes:
        iter: the iteration that is running.
        start_iter: the first iteration of this run (inclusive).
        max_iter: the last iteration of this run (exclusive).
        storage: the event storage, opened by ``train``.
    """

    def __init__(self) -> None:
        self._hooks: list[HookBase] = []
        self.iter = 0
        self.start_iter = 0
        self.max_iter = 0
        self.storage: EventStorage

    def register_hooks(self, hooks: Sequence[HookBase | None]) -> None:
        """Add hooks, called in this order; None entries are skipped.

        Args:
            hooks: hook objects, each of which can have one trainer only.
        """
        for hook in filter(None, hooks):
            if not isinstance(hook, HookBase):
                raise TypeError(f"register_hooks: expected a HookBase, got {type(hook).__name__}")
            # A strong reference would close a cycle that keeps models and loader workers alive.
            hook.trainer = weakref.proxy(self)
            self._hooks.append(hook)

    def train(self, start_iter: int, max_iter: int) -> None:
        """Run iterations ``start_iter`` to ``max_iter - 1``.

        Args:
            start_iter: first iteration, inclusive.
            max_iter: last iteration, exclusive.
        """
        logger = logging.getLogger(__name__)
        logger.info(f"Training from iteration {start_iter} to {max_iter}")
        self.start_iter, self.max_iter, self.iter = start_iter, max_iter, start_iter
        with EventStorage(start_iter) as self.storage:
            try:
                self.before_train()
                while self.iter < max_iter:
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    self.iter += 1
            except Exception:
                logger.exception(f"Training stopped by an error in iteration {self.iter}:")
                raise
            finally:
                self.after_train()

    def before_train(self) -> None:
        self._call_hooks("before_train")

    def after_train(self) -> None:
        self.storage.iter = self.iter
        self._call_hooks("after_train")

    def before_step(self) -> None:
        self.storage.iter = self.iter
        self._call_hooks("before_step")

    def after_backward(self) -> None:
        self._call_hooks("after_backward")

    def after_step(self) -> None:
        self._call_hooks("after_step")

    def _call_hooks(self, moment: str) -> None:
        for hook in self._hooks:
            getattr(hook, moment)()

    def run_step(self) -> None:
        """One iteration."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The iteration and, by class name, the first hook of each class that has a state."""
        states: dict[str, Any] = {}
        for hook in self._hooks:
            state = hook.state_dict()
            if state:
                states.setdefault(type(hook).__qualname__, state)
        return {"iteration": self.iter, **({"hooks": states} if states else {})}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave; hooks must have been registered before.

        Args:
            state_dict: a trainer's state.
        """
        self.iter = state_dict["iteration"]
        for name, state in state_dict.get("hooks", {}).items():
            hook = next((h for h in self._hooks if type(h).__qualname__ == name), None)
            if hook is None:
                logging.getLogger(__name__).warning(
                    f"The checkpoint holds the state of hook {name}, which is not registered; "
                    "it is left out"
                )
            else:
                hook.load_state_dict(state)  # type: ignore[attr-defined]


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
        self._pending_writes: list[Any] = []

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
        # An error in the thread (a loss that is not finite) must stop training, one step late.
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
                "learning rate, clip gradients, or look for broken boxes"
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
