"""A run that goes on where no step is left: all that was missing is what follows the training."""

from __future__ import annotations

from detectron2.engine import HookBase


class LastStepOnce(HookBase):
    """After such a run the trainer stands where it stood after the last step; registered first.

    Upstream's counts a step there that it did not make.
    """

    def after_train(self) -> None:
        trainer = self.trainer
        if trainer.iter > trainer.max_iter:
            trainer.iter = trainer.storage.iter = trainer.max_iter
