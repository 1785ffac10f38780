"""The bare training loop: an iteration counter with hooks around it.

Order within iteration k: ``before_step``, forward, backward, ``after_backward``, optimizer step,
``after_step``. During all of it ``trainer.iter == trainer.storage.iter == k``; after the last one
both are ``max_iter``.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.utils.events import EventStorage


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
                    "it is ignored"
                )
            else:
                hook.load_state_dict(state)  # type: ignore[attr-defined]
