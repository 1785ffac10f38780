"""Reading of weight files without running what they contain.

A pickle is a program: it can call any function it names. Those of model zoos need only a few names
(numpy arrays and plain containers); a file that names anything else is refused, and not run.
"""

from __future__ import annotations

import argparse
import collections
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

# What numpy's arrays and numbers are made by when read; the module has moved between versions.
_reconstruct = np.zeros(1).__reduce__()[0]
_frombuffer = np.zeros(1).__reduce_ex__(5)[0]
_scalar = np.float64(0).__reduce__()[0]


def _bytes_of_python2(text: str, encoding: str) -> bytes:
    """What ``_codecs.encode`` is used for in these files, and no more."""
    return text.encode("latin1" if encoding in ("latin1", "latin-1") else "ascii")


# (module, name) as pickles of numpy 1 and 2, Python 2 and 3 have them.
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _bytes_of_python2,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (module, kind): target
        for package in ("numpy.core", "numpy._core")
        for module, kind, target in (
            (f"{package}.multiarray", "_reconstruct", _reconstruct),
            (f"{package}.multiarray", "scalar", _scalar),
            (f"{package}.numeric", "_frombuffer", _frombuffer),
        )
    },
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, bytearray, complex)
    },
}

# What torch's own safe reader is told besides: numbers and settings that training programs save
# beside the weights. None of them does anything when it is made.
SAFE_FOR_TORCH = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OSUVMm"},
    (_reconstruct, "numpy.core.multiarray._reconstruct"),
    (_reconstruct, "numpy._core.multiarray._reconstruct"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    _bytes_of_python2,
    (_bytes_of_python2, "_codecs.encode"),
]


class _WeightsUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None


def read_pickle(path: str) -> Any:
    """Contents of a ``.pkl`` of numpy arrays and plain containers.

    Args:
        path: a local file, written by Python 2 or 3.

    Raises:
        ValueError: it is damaged or names anything else; nothing of it has run.
    """
    with open(path, "rb") as file:
        try:
            return _WeightsUnpickler(file, encoding="latin1").load()
        except Exception as error:
            raise ValueError(
                f"{path}: refused, not a file of weights ({error}): only numpy arrays in plain "
                "containers are read from a pickle"
            ) from error


def read_torch(path: str) -> Any:
    """Contents of a file of ``torch.save``: tensors, numbers, plain containers.

    Args:
        path: a local file.

    Raises:
        ValueError: it is damaged or holds anything else; nothing of it has run.
    """
    with torch.serialization.safe_globals(SAFE_FOR_TORCH):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            # torch's message is a page; of it, the name that was refused or the first sentence.
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            reason = f"it names {named[1]}" if named else str(error).split(". ")[0]
            raise ValueError(
                f"{path}: refused, not a file of weights ({reason}): only tensors, numbers and "
                "plain containers are read"
            ) from error
