"""Calls of the C core; fields are those of ``core/one_bit.h``.

The core reads as much memory as the sizes say, of the types that the header says: whoever calls it
has compared both with the tensors.
"""

from __future__ import annotations

import ctypes

from lowres_d2.deploy.one_bit.library import library
from lowres_d2.deploy.one_bit.paths import CORE_PATHS

import torch
from jaxtyping import Float
from torch import Tensor

Fields = list[tuple[str, type]]
_Field = int | Tensor | None  # tensors of any shape: the core gets their address


def _sizes(*names: str) -> Fields:
    return [(name, ctypes.c_int64) for name in names]


def _pointers(*names: str) -> Fields:
    return [(name, ctypes.c_void_p) for name in names]


class Convolution(ctypes.Structure):
    """``struct Convolution``."""

    _fields_ = [
        *_sizes("images", "height", "width", "border_y", "border_x", "words"),
        *_sizes("kernel_y", "kernel_x", "stride_y", "stride_x", "padding_y", "padding_x"),
        *_sizes("out_height", "out_width", "outputs", "bits_border_y", "bits_border_x"),
        *_pointers("input", "weights", "offsets"),
        *_pointers("scale", "shift", "residual", "slope", "offset", "thresholds"),
        *_pointers("out", "bits"),
    ]


class Packing(ctypes.Structure):
    """``struct Packing``."""

    _fields_ = [
        *_sizes("images", "channels", "height", "width", "border_y", "border_x", "channels_last"),
        *_pointers("x", "thresholds", "bits"),
    ]


class Stem(ctypes.Structure):
    """``struct Stem``."""

    _fields_ = [
        *_sizes("images", "padded_height", "padded_width", "channels", "kernel", "stride"),
        *_sizes("outputs", "conv_height", "conv_width", "pooled", "out_height", "out_width"),
        *_pointers("input", "weights", "bias", "slope", "out"),
    ]


def convolve(path: str, **fields: _Field) -> None:
    """``one_bit_convolve`` with as many threads as torch has."""
    _call("one_bit_convolve", Convolution, path, fields)


def pack(path: str, **fields: _Field) -> None:
    """``one_bit_pack`` with as many threads as torch has."""
    _call("one_bit_pack", Packing, path, fields)


def stem(path: str, **fields: _Field) -> None:
    """``one_bit_stem`` with as many threads as torch has."""
    _call("one_bit_stem", Stem, path, fields)


def _call(name: str, kind: type, path: str, fields: dict[str, int | Tensor | None]) -> None:
    # `fields` keeps the tensors alive until the function returns.
    # As pointers they fit no size.
    plain = {
        field: ctypes.c_void_p(x.data_ptr()) if isinstance(x, Tensor) else x
        for field, x in fields.items()
    }
    threads = ctypes.c_int64(torch.get_num_threads())
    number = ctypes.c_int64(CORE_PATHS.index(path))
    getattr(library(), name)(ctypes.byref(kind(**plain)), number, threads)


def vector(x: Float[Tensor, "*any"], length: int, name: str) -> Float[Tensor, " length"]:
    """The same numbers as the core reads them.

    Raises:
        ValueError: there are not as many as there are channels.
    """
    if x.shape != (length,):
        raise ValueError(f"{name}: expected {length} numbers, got shape {tuple(x.shape)}")
    return x.detach().to("cpu", torch.float32).contiguous()
