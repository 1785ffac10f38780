"""Hooks of the training loop, by what they do."""

from detectron2._uncovered import uncovered
from detectron2.engine.hooks.callbacks import CallbackHook, EvalHook
from detectron2.engine.hooks.checkpointing import BestCheckpointer, PeriodicCheckpointer
from detectron2.engine.hooks.profiling import TorchMemoryStats, TorchProfiler
from detectron2.engine.hooks.reporting import IterationTimer, PeriodicWriter
from detectron2.engine.hooks.updating import LRScheduler, PreciseBN
from detectron2.engine.trainer_base import HookBase

AutogradProfiler = uncovered("detectron2.engine.AutogradProfiler")

__all__ = [
    "AutogradProfiler",
    "BestCheckpointer",
    "CallbackHook",
    "EvalHook",
    "HookBase",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
    "PreciseBN",
    "TorchMemoryStats",
    "TorchProfiler",
]
