"""The usual setup of a run: command-line flags, folders and logs, writers, DDP."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
from typing import Any

import torch
from detectron2._uncovered import uncovered
from detectron2.config import LazyConfig
from detectron2.engine.train_loop import AMPTrainer as AMPTrainer
from detectron2.engine.train_loop import SimpleTrainer as SimpleTrainer
from detectron2.engine.train_loop import TrainerBase as TrainerBase
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
)
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import setup_logger
from omegaconf import OmegaConf
from torch import nn
from torch.nn.parallel import DistributedDataParallel

__all__ = [
    "DefaultPredictor",
    "DefaultTrainer",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "default_writers",
]

# Both are built from yacs configs.
DefaultPredictor = uncovered("detectron2.engine.DefaultPredictor")
DefaultTrainer = uncovered("detectron2.engine.DefaultTrainer")

FIRST_PORT, PORTS = 49152, 16384  # the range that is free for private use


def create_ddp_model(
    model: nn.Module, *, fp16_compression: bool = False, **kwargs: Any
) -> nn.Module:
    """Wrap a model for several processes; with one process it is returned as it is.

    Args:
        model: on its device already. On the CPU no device ids are given to DDP.
        fp16_compression: send gradients in half precision.
        **kwargs: for ``DistributedDataParallel``.
    """
    if comm.get_world_size() == 1:
        return model
    if "device_ids" not in kwargs and any(p.is_cuda for p in model.parameters()):
        kwargs["device_ids"] = [comm.get_local_rank()]
    wrapped = DistributedDataParallel(model, **kwargs)
    if fp16_compression:
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

        wrapped.register_comm_hook(state=None, hook=fp16_compress_hook)
    return wrapped


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """The flags that Detectron2's training programs share.

    Args:
        epilog: shown under the help; None for two examples.
    """
    parser = argparse.ArgumentParser(
        epilog=epilog or "Example: %(prog)s --config-file RECIPE.py train.max_iter=1000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", default="", metavar="FILE", help="the recipe")
    parser.add_argument(
        "--resume", action="store_true", help="resume from the last checkpoint of the output folder"
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate, do not train")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on this machine")
    parser.add_argument("--num-machines", type=int, default=1, help="machines in all")
    parser.add_argument(
        "--machine-rank", type=int, default=0, help="number of this machine, from 0"
    )
    # One port per user: runs of two users on one machine do not meet.
    user = str(os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", ""))
    port = FIRST_PORT + int(hashlib.sha256(user.encode()).hexdigest(), 16) % PORTS
    parser.add_argument(
        "--dist-url",
        default=f"tcp://127.0.0.1:{port}",
        help="where the processes meet; 'auto' takes a free port of this machine",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, default=None, help="changes to the recipe, key=value"
    )
    return parser


def default_setup(cfg: Any, args: argparse.Namespace) -> None:
    """Start a run: output folder, logs, a record of environment and config, seeds, backends.

    Read from ``cfg.train``: ``output_dir``, ``seed`` (negative for a new one each run) and
    ``cudnn_benchmark``.

    Args:
        cfg: a recipe, loaded by ``LazyConfig``.
        args: the command line.
    """
    output_dir = _try_get_key(cfg, "OUTPUT_DIR", "output_dir", "train.output_dir")
    rank = comm.get_rank()
    if comm.is_main_process() and output_dir:
        PathManager.mkdirs(output_dir)
    setup_logger(output_dir, distributed_rank=rank, name="fvcore")
    logger = setup_logger(output_dir, distributed_rank=rank)
    logger.info(f"Process {rank} of {comm.get_world_size()}")
    logger.info(f"Environment:\n{collect_env_info()}")
    logger.info(f"Command line: {args}")
    _record_config(cfg, getattr(args, "config_file", ""), output_dir, logger)

    seed = _try_get_key(cfg, "SEED", "train.seed", default=-1)
    seed_all_rng(None if seed < 0 else seed + rank)
    # The search for the fastest kernels pays only where sizes repeat, which evaluation's do not.
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = _try_get_key(
            cfg, "CUDNN_BENCHMARK", "train.cudnn_benchmark", default=False
        )


def _record_config(
    cfg: Any, config_file: str, output_dir: str | None, logger: logging.Logger
) -> None:
    if config_file:
        with PathManager.open(config_file, "r", encoding="utf-8") as file:
            logger.info(f"Config file {config_file}:\n{file.read()}")
    if comm.is_main_process() and output_dir:
        path = os.path.join(output_dir, "config.yaml")
        LazyConfig.save(cfg, path)
        logger.info(f"The full config is in {path}")


def _try_get_key(cfg: Any, *keys: str, default: Any = None) -> Any:
    """The first of some dotted keys that a config has, else the default."""
    missing = object()
    for key in keys:
        value = OmegaConf.select(cfg, key, default=missing)
        if value is not missing:
            return value
    return default


def default_writers(output_dir: str, max_iter: int | None = None) -> list[EventWriter]:
    """Writers to the terminal, to ``metrics.json`` and for TensorBoard.

    Args:
        output_dir: made if it is not there.
        max_iter: iterations in all, for the remaining time.
    """
    PathManager.mkdirs(output_dir)
    return [
        CommonMetricPrinter(max_iter),
        JSONWriter(os.path.join(output_dir, "metrics.json")),
        TensorboardXWriter(output_dir),
    ]
