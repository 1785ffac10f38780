"""How products are counted: the instruction sets of the C core, or torch."""

from __future__ import annotations

import functools
import os

from lowres_d2.deploy.one_bit.library import library

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch._subclasses import FakeTensor

VARIABLE = "LOWRES_D2_ONE_BIT"
CORE_PATHS = ("scalar", "neon", "avx2", "avx512bw", "vpopcntdq")  # numbers and order of core/
PATHS = ("torch", *CORE_PATHS)


def supported_paths() -> tuple[str, ...]:
    """What this machine can run, better ones later."""
    core = library()
    found = core.one_bit_supported() if core is not None else 0
    return ("torch", *(name for number, name in enumerate(CORE_PATHS) if found >> number & 1))


def chosen_path() -> str:
    """The path that ``LOWRES_D2_ONE_BIT`` asks for, or the best one.

    Raises:
        ValueError: there is no such path, or this machine lacks it.
    """
    return _path(os.environ.get(VARIABLE) or "auto")


def path_for(x: Shaped[Tensor, "*any"]) -> str:
    """The chosen path where a tensor is the CPU's, ``torch`` for other devices.

    Raises:
        ValueError: see :func:`chosen_path`; or a graph is recorded, which cannot hold the core.
    """
    if torch.jit.is_tracing() or isinstance(x, FakeTensor):
        raise ValueError(
            "packed layers cannot be traced or exported, they run outside of torch: take the 1-bit "
            "detector as it is before `pack`"
        )
    return chosen_path() if x.is_cpu else "torch"


@functools.cache
def _path(asked: str) -> str:
    if asked == "torch":  # nothing is compiled
        return asked
    if asked != "auto" and asked not in PATHS:
        raise ValueError(f"{VARIABLE}={asked}: expected auto, {', '.join(reversed(PATHS))}")
    supported = supported_paths()
    if asked == "auto":
        return supported[-1]
    if asked not in supported:
        raise ValueError(
            f"{VARIABLE}={asked}: this machine lacks it (it has {', '.join(supported)}); set auto"
        )
    return asked
