"""Hooks that measure speed and memory: torch's profiler, and CUDA's memory counters."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

import torch
from detectron2.engine.trainer_base import HookBase, TrainerBase
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from torch.profiler import ProfilerActivity

logger = logging.getLogger(__name__)


class TorchProfiler(HookBase):
    """Profile chosen iterations with ``torch.profiler``.

    Args:
        enable_predicate: takes the trainer, says whether to profile this iteration.
        output_dir: traces go here, for TensorBoard under ``log/profiler-tensorboard-iter<k>``.
        activities: what to record; None for CPU and, where there is one, GPU.
        save_tensorboard: write for TensorBoard; otherwise one Chrome trace per iteration.
    """

    def __init__(
        self,
        enable_predicate: Callable[[TrainerBase], bool],
        output_dir: str,
        *,
        activities: Sequence[ProfilerActivity] | None = None,
        save_tensorboard: bool = True,
    ) -> None:
        self._enable_predicate = enable_predicate
        self._activities = activities
        self._output_dir = output_dir
        self._save_tensorboard = save_tensorboard
        self._profiler: torch.profiler.profile | None = None

    def before_step(self) -> None:
        if not self._enable_predicate(self.trainer):
            return
        handler = None
        if self._save_tensorboard:
            folder = f"profiler-tensorboard-iter{self.trainer.iter}"
            handler = torch.profiler.tensorboard_trace_handler(
                os.path.join(self._output_dir, "log", folder), f"worker{comm.get_rank()}"
            )
        self._profiler = torch.profiler.profile(
            activities=self._activities,
            on_trace_ready=handler,
            record_shapes=True,
            profile_memory=True,
            with_stack=True,
            with_flops=True,
        )
        self._profiler.__enter__()

    def after_step(self) -> None:
        if self._profiler is None:
            return
        self._profiler.__exit__(None, None, None)
        if not self._save_tensorboard:
            PathManager.mkdirs(self._output_dir)
            name = f"profiler-trace-iter{self.trainer.iter}.json"
            self._profiler.export_chrome_trace(os.path.join(self._output_dir, name))
        self._profiler = None


class TorchMemoryStats(HookBase):
    """Log CUDA memory use now and then; nothing on the CPU.

    Args:
        period: iterations between reports.
        max_runs: reports in all.
    """

    def __init__(self, period: int = 20, max_runs: int = 10) -> None:
        self._period = period
        self._runs_left = max_runs

    def after_step(self) -> None:
        if self._runs_left <= 0 or not torch.cuda.is_available():
            return
        done = self.trainer.iter + 1
        if done % self._period != 0 and done != self.trainer.max_iter:
            return
        mib = 1024.0**2
        logger.info(
            f"Iteration {self.trainer.iter}, CUDA memory in MiB: "
            f"reserved {torch.cuda.memory_reserved() / mib:.0f} "
            f"(peak {torch.cuda.max_memory_reserved() / mib:.0f}), "
            f"allocated {torch.cuda.memory_allocated() / mib:.0f} "
            f"(peak {torch.cuda.max_memory_allocated() / mib:.0f})"
        )
        torch.cuda.reset_peak_memory_stats()
        self._runs_left -= 1
