"""Device and processes of a run."""

from __future__ import annotations

import datetime
import socket
from collections import Counter

from lowres_d2.engine.processes.membership import Membership

import torch
import torch.distributed as dist
from detectron2.utils import comm

# Of collective operations; the same as Detectron2's launch has.
TIMEOUT = datetime.timedelta(minutes=30)
# Hosts of one job do not start their processes at the same moment.
MEETING_TIMEOUT = datetime.timedelta(minutes=10)


def pick_device(wish: str) -> torch.device:
    """The device that a recipe asks for; ``auto`` takes a GPU if there is one.

    Raises:
        ValueError: the device is not available; the message lists those that are.
    """
    have = ["cpu"]
    if torch.cuda.is_available():
        have += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        have.append("mps")
    if wish == "auto":
        wish = "cuda" if "cuda" in have else "cpu"
    if wish not in have:
        raise ValueError(
            f"train.device={wish} is not available: this machine has {', '.join(have)}; "
            "use train.device=auto"
        )
    if wish == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(wish)


def meet(member: Membership) -> dist.Store:
    """Wait until all processes of the run are connected.

    Returns:
        A store that they share; each attempt of ``torchrun`` or SLURM starts with an empty one.

    Raises:
        ConnectionError: this process cannot connect to the others.
    """
    place = f"{member.address}:{member.port}"
    try:
        store = dist.TCPStore(
            member.address,
            member.port,
            member.world_size,
            is_master=member.hosts_store,
            timeout=MEETING_TIMEOUT,
        )
    except (RuntimeError, ValueError) as error:
        raise ConnectionError(
            f"process {member.rank} of {member.world_size} ({member.launcher}) could not connect "
            f"to the others at {place}: {str(error).splitlines()[0]}; start all of them, and set "
            "MASTER_ADDR to the host of process 0 and MASTER_PORT to a free port there"
        ) from error
    # torchrun's agent keeps its store over restarts: what an earlier attempt has written there,
    # such as that it failed, must not be read by this one.
    return dist.PrefixStore(f"attempt{member.attempt}", store)


def join_group(member: Membership, store: dist.Store) -> None:
    """Add this process to the run's process group: NCCL with a GPU each, or gloo without GPUs.

    Raises:
        ValueError: there is no GPU for this process, or machines have different numbers of
            processes.
    """
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        # Before the group is made: NCCL works on the current GPU.
        torch.cuda.set_device(_gpu_of(member))
    dist.init_process_group(
        backend, store=store, rank=member.rank, world_size=member.world_size, timeout=TIMEOUT
    )
    # Detectron2 groups ranks by this number, so it has to be equal on all machines.
    comm.create_local_process_group(member.local_size or _processes_on_this_machine())


def _gpu_of(member: Membership) -> int:
    number = torch.cuda.device_count()
    if number == 1:  # srun --gpus-per-task=1 shows each process its own GPU only
        return 0
    if member.local_rank >= number:
        raise ValueError(
            f"process {member.local_rank} of this machine has no GPU, there are {number}: start "
            f"at most {number} processes per machine, or use train.device=cpu"
        )
    return member.local_rank


def _processes_on_this_machine() -> int:
    numbers = Counter(comm.all_gather(socket.gethostname()))
    if len(set(numbers.values())) > 1:
        raise ValueError(
            "machines have different numbers of processes ("
            + ", ".join(f"{host} {number}" for host, number in numbers.items())
            + "): start the same number on each (srun --ntasks-per-node)"
        )
    return numbers[socket.gethostname()]
