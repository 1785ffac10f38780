"""Processes of one job: who am I, and exchange of small picklable objects.

Everything works without `torch.distributed`, as one process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

_gloo_group: Any = None
_local_process_group: Any = None


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Number of processes of the job."""
    return dist.get_world_size() if _is_distributed() else 1


def get_rank() -> int:
    """Index of this process in the job."""
    return dist.get_rank() if _is_distributed() else 0


def create_local_process_group(num_workers_per_machine: int) -> None:
    """Make a group of the processes of each machine; call it once, in every process.

    Args:
        num_workers_per_machine: processes a machine; ranks are given out machine by machine.
    """
    global _local_process_group
    if _local_process_group is not None:
        raise RuntimeError("create_local_process_group: the groups exist already; call it once")
    world_size, size = get_world_size(), num_workers_per_machine
    if world_size % size:
        raise ValueError(f"{world_size} processes cannot be {size} on every machine")
    if not _is_distributed():
        return
    for start in range(0, world_size, size):
        # Every process takes part in making every group.
        group = dist.new_group(list(range(start, start + size)))
        if start <= get_rank() < start + size:
            _local_process_group = group


def get_local_process_group() -> Any:
    """The group of the processes of this machine."""
    if _local_process_group is None:
        raise RuntimeError(
            "the local process group does not exist: start the job by detectron2.engine.launch, "
            "or call comm.create_local_process_group first"
        )
    return _local_process_group


def get_local_rank() -> int:
    """Index of this process on its machine."""
    return dist.get_rank(group=get_local_process_group()) if _is_distributed() else 0


def get_local_size() -> int:
    """Number of processes on this machine."""
    return dist.get_world_size(group=get_local_process_group()) if _is_distributed() else 1


def is_main_process() -> bool:
    """Whether this is the process that logs and saves."""
    return get_rank() == 0


def synchronize() -> None:
    """Wait for all processes."""
    if get_world_size() == 1:
        return
    if dist.get_backend() == dist.Backend.NCCL:
        # Without the device NCCL guesses one from the rank, which is wrong on several machines.
        dist.barrier(device_ids=[torch.cuda.current_device()])
    else:
        dist.barrier()


def _object_group() -> Any:
    """A group of all processes for pickled objects: gloo, so that they stay in main memory."""
    global _gloo_group
    if dist.get_backend() != dist.Backend.NCCL:
        return dist.group.WORLD
    if _gloo_group is None:
        _gloo_group = dist.new_group(backend="gloo")
    return _gloo_group


def all_gather(data: Any, group: Any = None) -> list[Any]:
    """The objects of all processes, by rank.

    Args:
        data: anything that pickles.
        group: process group; None for all processes.
    """
    if get_world_size() == 1:
        return [data]
    group = group or _object_group()
    gathered = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, data, group=group)
    return gathered


def gather(data: Any, dst: int = 0, group: Any = None) -> list[Any]:
    """The objects of all processes, by rank, on process `dst`; an empty list elsewhere.

    Args:
        data: anything that pickles.
        dst: rank that receives.
        group: process group; None for all processes.
    """
    if get_world_size() == 1:
        return [data]
    group = group or _object_group()
    gathered = [None] * dist.get_world_size(group) if dist.get_rank() == dst else None
    dist.gather_object(data, gathered, dst=dst, group=group)
    return gathered or []


def shared_random_seed() -> int:
    """A random number below 2^31 on which all processes agree; needs all of them."""
    # From numpy's global generator, so that seeding that makes this repeatable.
    return all_gather(int(np.random.randint(2**31)))[0]  # noqa: NPY002


def reduce_dict(input_dict: dict[str, Tensor], average: bool = True) -> dict[str, Tensor]:
    """Sum or mean over processes of the scalars of a dict; meaningful on rank 0.

    Args:
        input_dict: scalar tensors, with the same keys on every process.
        average: mean in place of sum.
    """
    world_size = get_world_size()
    if world_size == 1:
        return input_dict
    with torch.no_grad():
        # Sorted, so that processes agree on the order.
        names = sorted(input_dict)
        values = torch.stack([input_dict[name] for name in names])
        dist.reduce(values, dst=0)
        if average and is_main_process():
            values /= world_size
    return dict(zip(names, values, strict=True))
