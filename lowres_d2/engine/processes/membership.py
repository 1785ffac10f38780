"""Rank, world size and rendezvous address, from the variables that ``torchrun`` or SLURM set.

SLURM sets everything but the rendezvous address. That is the first host of the job step, at a port
derived from the numbers of job and step, so that two jobs on one host do not connect to each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
FIRST_PORT, PORTS = 12000, 20000  # below the ports that Linux assigns to clients, from 32768 on


@dataclass(frozen=True)
class Membership:
    """One process of a run of several.

    Attributes:
        launcher: what started the process, for messages.
        rank: its number, from 0.
        world_size: number of processes of the run.
        local_rank: its number on its machine, from 0.
        local_size: number of processes on its machine; None: unknown.
        address: host of the store that all processes share.
        port: port of that store.
        hosts_store: whether this process hosts the store.
        attempt: how many times the run was restarted.
    """

    launcher: str
    rank: int
    world_size: int
    local_rank: int
    local_size: int | None
    address: str
    port: int
    hosts_store: bool
    attempt: int = 0


def find_membership(environ: Mapping[str, str]) -> Membership | None:
    """Read the variables; ``RANK`` and ``WORLD_SIZE`` take precedence over SLURM's.

    Returns:
        The process's membership; None for a single process.

    Raises:
        ValueError: one is missing, or they contradict each other.
    """
    if "RANK" in environ or "WORLD_SIZE" in environ:
        return _of_torchrun(environ)
    # A batch script has SLURM's variables too, but is one process, whatever the number of tasks.
    in_script = environ.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_ID" not in environ
    tasks = _slurm_tasks(environ)
    if "SLURM_PROCID" not in environ or in_script or not tasks or environ.get(tasks) == "1":
        return None
    return _of_slurm(environ, tasks)


def restarts(environ: Mapping[str, str]) -> int:
    """How many times ``torchrun`` or SLURM has restarted this run."""
    return sum(_number(environ, key) for key in RESTARTS if key in environ)


def can_be_restarted(environ: Mapping[str, str]) -> bool:
    """Whether ``torchrun`` or SLURM has started this run, which they may start again."""
    return RESTARTS[0] in environ or "SLURM_JOB_ID" in environ


def first_host(nodes: str) -> str:
    """The first host of a list in SLURM's notation, such as ``gpu[03-05,9],login``."""
    # Up to the first comma outside of brackets; then the first number of each bracket.
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)[0]
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first)


def _of_torchrun(environ: Mapping[str, str]) -> Membership:
    for key in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        if key not in environ:
            raise ValueError(
                f"{key} is not set, but others of RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT are: "
                "torchrun sets them all; set or unset them together"
            )
    # If so, torchrun's agent hosts the store, and all processes of the run are clients.
    with_agent = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    rank = _below(environ, "RANK", "WORLD_SIZE")
    local_rank = _number(environ, "LOCAL_RANK") if "LOCAL_RANK" in environ else 0
    if "LOCAL_WORLD_SIZE" in environ:
        _below(environ, "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        _below(environ, "LOCAL_WORLD_SIZE", "WORLD_SIZE", equal=True)
    return Membership(
        "torchrun" if "TORCHELASTIC_RUN_ID" in environ else "RANK and WORLD_SIZE",
        rank,
        _number(environ, "WORLD_SIZE"),
        local_rank,
        _number(environ, "LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in environ else None,
        environ["MASTER_ADDR"],
        _number(environ, "MASTER_PORT"),
        hosts_store=rank == 0 and not with_agent,
        attempt=restarts(environ),
    )


def _of_slurm(environ: Mapping[str, str], tasks: str) -> Membership:
    rank = _below(environ, "SLURM_PROCID", tasks)
    if "SLURM_LOCALID" not in environ:
        raise ValueError("SLURM_LOCALID is not set, but SLURM_PROCID is: start with srun")
    # The number within the host cannot exceed the one within the job.
    _below(environ, "SLURM_LOCALID", "SLURM_PROCID", equal=True)
    return Membership(
        "srun",
        rank,
        _number(environ, tasks),
        _number(environ, "SLURM_LOCALID"),
        None,
        environ.get("MASTER_ADDR") or _slurm_address(environ),
        _number(environ, "MASTER_PORT") if "MASTER_PORT" in environ else _slurm_port(environ),
        hosts_store=rank == 0,
        attempt=restarts(environ),
    )


def _slurm_tasks(environ: Mapping[str, str]) -> str | None:
    """Name of the variable with the number of tasks; the step's takes precedence over the job's."""
    return next((key for key in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if key in environ), None)


def _slurm_address(environ: Mapping[str, str]) -> str:
    for key in ("SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"):
        if environ.get(key):
            return first_host(environ[key])
    # The host that srun was called on; in a batch script that is the first host too.
    if environ.get("SLURM_LAUNCH_NODE_IPADDR"):
        return environ["SLURM_LAUNCH_NODE_IPADDR"]
    raise ValueError(
        "SLURM_PROCID is set, but no variable names the hosts (srun sets SLURM_STEP_NODELIST): set "
        "MASTER_ADDR to the host of process 0"
    )


def _slurm_port(environ: Mapping[str, str]) -> int:
    if "SLURM_JOB_ID" not in environ:
        raise ValueError(
            "SLURM_PROCID is set, but neither MASTER_PORT nor SLURM_JOB_ID is: set MASTER_PORT to "
            "a free port of the host of process 0"
        )
    step = _number(environ, "SLURM_STEP_ID") if "SLURM_STEP_ID" in environ else 0
    # Consecutive jobs are 31 ports apart: that many steps of each meet no step of the next.
    return FIRST_PORT + (31 * _number(environ, "SLURM_JOB_ID") + step) % PORTS


def _number(environ: Mapping[str, str], key: str) -> int:
    if not environ[key].isdecimal():
        raise ValueError(f"{key}={environ[key]}: expected a whole number, 0 or more")
    return int(environ[key])


def _below(environ: Mapping[str, str], key: str, limit: str, equal: bool = False) -> int:
    value, most = _number(environ, key), _number(environ, limit)
    if value > most or (value == most and not equal):
        raise ValueError(
            f"{key}={value} and {limit}={most} contradict each other: {key} has to be "
            f"{'at most' if equal else 'less than'} {limit}; let torchrun or srun set them"
        )
    return value
