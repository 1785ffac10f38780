"""The engine of a cluster, or of this machine: Ray Data schedules, retries, spills and scales.

    pieces -> flat_map: batches -> map: an actor pool of Detect -> this process, which writes shards

All files have to be where every machine of the cluster finds them by the same path: images,
weights and the run's folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lowres_d2.cores import num_cores
from lowres_d2.predictor.scale.batches import Batch, BatchReader
from lowres_d2.predictor.scale.detect import Detect
from lowres_d2.predictor.scale.job import Job

# Before it is imported: nothing is sent to its makers, and of its log only what matters is shown.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
try:
    import ray
    import ray.data
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: Ray is needed here: pip install 'lowres-d2[scale]'", name=error.name
    ) from None

_PATIENCE = 10.0  # seconds until an address counts as silent
# All that Ray listens with is gRPC, so HTTP/2 (RFC 9113, 3.4): a client says this and its settings,
# here none, and the server's first frame is its settings, too.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME, _TYPE, _SETTINGS = 9, 3, 4  # bytes of a frame's head, place and value of its type
_BLOCKS = 10_000  # as many tasks read at most: of a million pieces each has a hundred


def check_answers(address: str | None) -> None:
    """Raise where no Ray listens, for which Ray itself waits long, or without end.

    Args:
        address: as for :func:`predict_on_ray`.

    Raises:
        ConnectionError: nothing listens there, it is silent, or it is something else.
    """
    address = address or os.environ.get("RAY_ADDRESS") or ""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():
        return  # "auto", one of this machine's own, or what Ray will refuse
    try:
        with socket.create_connection((host, int(port)), _PATIENCE) as server:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return  # nothing is said unencrypted
            server.sendall(_HELLO)
            with server.makefile("rb") as replies:
                head = replies.read(_FRAME)
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from None
    if len(head) < _FRAME or head[_TYPE] != _SETTINGS:
        raise _unreachable(address, "another server does")


def predict_on_ray(
    job: Job,
    device: str,
    address: str | None,
    actors: int | None,
    done: Callable[[int], Any],
) -> None:
    """Look at the pieces of a job.

    Args:
        job: what there is to do.
        device: of the models, as recipes say it; "auto": GPUs if the cluster has any.
        address: of a cluster, "auto" for the one that this machine is of; None: that of
            ``RAY_ADDRESS``, or a Ray of its own, which ends with this call.
        actors: processes with the model; None: as many as Ray finds room for.
        done: called with numbers of images that were looked at.

    Raises:
        ConnectionError: no cluster answers.
    """
    with _connected(address or os.environ.get("RAY_ADDRESS"), actors or 1):
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        pieces = ray.data.from_items(
            [{"piece": piece} for piece in job.pieces.tolist()],
            override_num_blocks=min(len(job.pieces), _BLOCKS),
        )
        gpu = device.startswith("cuda")
        if device == "auto":
            gpu = ray.cluster_resources().get("GPU", 0) > 0
        # Ray shows each actor its own GPU alone.
        detect, collector = job.detect("cuda" if gpu else "cpu"), job.collector()
        found = pieces.flat_map(partial(_batches, job.reader)).map(
            Detect,
            fn_constructor_args=(detect.load, detect.score),
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_gpus=int(gpu),
        )
        try:
            for row in found.iter_rows():
                done(collector.add(row))
        except ray.exceptions.RayError as error:
            raise _cause_of(error) from error


def _batches(reader: BatchReader, row: dict[str, Any]) -> Iterator[Batch]:
    return reader(row["piece"])


@contextlib.contextmanager
def _connected(address: str | None, actors: int) -> Iterator[None]:
    """A connection to a cluster, or a Ray of this machine with room for so many actors."""
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        # One more, so that something reads while all actors look.
        cores = max(num_cores(), actors + 1)
        ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
    else:
        try:
            ray.init(address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise _unreachable(address, str(error)) from None
    try:
        yield
    finally:
        ray.shutdown()


def _unreachable(address: str, reason: str) -> ConnectionError:
    first = reason.splitlines()[0] if reason else "no reason given"
    return ConnectionError(
        f"--address {address}: no Ray cluster answers ({first}): `ray start --head` starts one, "
        "and without --address and RAY_ADDRESS one of this machine alone is used"
    )


def _cause_of(error: BaseException) -> BaseException:
    """The error that a function of ours has raised on another process."""
    while isinstance(inner := getattr(error, "cause", None) or error.__cause__, BaseException):
        error = inner
    return error
