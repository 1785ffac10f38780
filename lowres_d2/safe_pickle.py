"""Unpickle plain containers and numpy arrays, without executing anything in the file.

A pickle is a program: it can call any function that it names. Files of weights and of images need
only a few; a file that names any other is refused before it runs.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Functions that unpickle numpy's arrays and numbers; their module differs between numpy versions.
reconstruct = np.zeros(1).__reduce__()[0]
frombuffer = np.zeros(1).__reduce_ex__(5)[0]
scalar = np.float64(0).__reduce__()[0]


def bytes_of_python2(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, restricted to its use in these files."""
    return text.encode("latin1" if encoding in ("latin1", "latin-1") else "ascii")


def empty_bytes() -> bytes:
    """Stands in for ``bytes``, which old protocols call for empty ones; not for a given length."""
    return b""


# (module, name) as in pickles of numpy 1 and 2 and of Python 2 and 3.
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): bytes_of_python2,
    ("builtins", "bytes"): empty_bytes,
    ("__builtin__", "bytes"): empty_bytes,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (module, kind): target
        for package in ("numpy.core", "numpy._core")
        for module, kind, target in (
            (f"{package}.multiarray", "_reconstruct", reconstruct),
            (f"{package}.multiarray", "scalar", scalar),
            (f"{package}.numeric", "_frombuffer", frombuffer),
        )
    },
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, bytearray, complex)
    },
}


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(refused(f"{module}.{name}")) from None


def read_pickle(path: Path) -> Any:
    """Contents of a pickle of Python 2 or 3.

    Raises:
        pickle.UnpicklingError: it names a function that is not allowed, or is damaged; a damaged
            one may raise any other error, too.
    """
    with path.open("rb") as file:
        # latin1 maps each byte of Python 2's strings to one character, so none is lost or refused.
        return _SafeUnpickler(file, encoding="latin1").load()


def refused(name: str) -> str:
    """Why a pickle is not read that names something else than what is allowed."""
    return f"its pickle refers to {name}, which could run code"
