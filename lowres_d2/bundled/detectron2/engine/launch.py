"""Start one process a GPU (or, without GPUs, several on the CPU) and run a function in each."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils import comm

__all__ = ["DEFAULT_TIMEOUT", "launch"]

DEFAULT_TIMEOUT = timedelta(minutes=30)


def launch(
    main_func: Callable[..., None],
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: Sequence[Any] = (),
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> None:
    """Run ``main_func(*args)`` in ``num_gpus_per_machine`` processes here, joined into one group.

    With one process in all it is called directly. Processes use NCCL with one GPU each, or gloo
    where there is no GPU. Call it once on every machine.

    Args:
        main_func: must be picklable (a function of a module).
        num_gpus_per_machine: processes on this machine.
        num_machines: machines in all.
        machine_rank: this machine's number, from 0.
        dist_url: where they meet, such as ``tcp://10.0.0.1:29500``; ``auto`` takes a free port of
            this machine.
        args: arguments of ``main_func``.
        timeout: of the collectives.
    """
    world_size = num_machines * num_gpus_per_machine
    if world_size <= 1:
        main_func(*args)
        return
    if dist_url == "auto":
        if num_machines != 1:
            raise ValueError("launch: dist_url='auto' works on one machine; give tcp://HOST:PORT")
        dist_url = f"tcp://127.0.0.1:{_free_port()}"
    if not dist_url:
        raise ValueError(f"launch: {world_size} processes need dist_url, such as 'auto'")
    _check_gpus(num_gpus_per_machine)
    mp.spawn(
        _worker,
        nprocs=num_gpus_per_machine,
        args=(main_func, world_size, num_gpus_per_machine, machine_rank, dist_url, args, timeout),
        daemon=False,
    )


def _worker(
    local_rank: int,
    main_func: Callable[..., None],
    world_size: int,
    num_gpus_per_machine: int,
    machine_rank: int,
    dist_url: str,
    args: Sequence[Any],
    timeout: timedelta,
) -> None:
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(local_rank)
    dist.init_process_group(
        backend="nccl" if on_gpu else "gloo",
        init_method=dist_url,
        world_size=world_size,
        rank=machine_rank * num_gpus_per_machine + local_rank,
        timeout=timeout,
    )
    comm.create_local_process_group(num_gpus_per_machine)
    comm.synchronize()
    main_func(*args)
    dist.destroy_process_group()


def _check_gpus(wanted: int) -> None:
    there = torch.cuda.device_count() if torch.cuda.is_available() else None
    if there is not None and wanted > there:
        raise ValueError(f"launch: {wanted} processes need as many GPUs, this machine has {there}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
