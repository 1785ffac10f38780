"""A run that resumes after its last iteration, to do what follows the training."""

from __future__ import annotations

from detectron2.engine import HookBase


class LastIterationOnce(HookBase):
    """Leaves the trainer of such a run at ``max_iter``; register it before other hooks.

    Detectron2's trainer adds 1 to its iteration after training even if it trained none.
    """

    def after_train(self) -> None:
        trainer = self.trainer
        if trainer.iter > trainer.max_iter:
            trainer.iter = trainer.storage.iter = trainer.max_iter
