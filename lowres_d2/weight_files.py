"""Read weight files without executing anything in them, whichever Detectron2 is in use.

Pickles of model zoos need only numpy arrays and plain containers, see ``safe_pickle``.
"""

from __future__ import annotations

import argparse
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlparse

from lowres_d2.file_notes import notes_in
from lowres_d2.safe_pickle import bytes_of_python2, read_pickle, reconstruct, refused, scalar

import numpy as np
import torch

REMEDY = "give a .pth, .pkl or .safetensors file of weights"
AGAIN = "copy or download it again"
_CHECKSUM = "the checksum of its entry"

# Also allowed in torch's own safe reader: numbers and settings that training programs save with the
# weights. Constructing them has no side effects.
SAFE_FOR_TORCH: list[Any] = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    # Numbers only: no objects (O), strings (S, U), records (V) or dates (M, m).
    *{type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OSUVMm"},
    (reconstruct, "numpy.core.multiarray._reconstruct"),
    (reconstruct, "numpy._core.multiarray._reconstruct"),
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    bytes_of_python2,
    (bytes_of_python2, "_codecs.encode"),
]


def read_weight_file(path: str | Path) -> dict[str, Any]:
    """Contents of a weight file, with the weights under ``model``.

    Args:
        path: a local file, whose suffix gives its format: ``.pkl`` for model zoos (Detectron2's or
            Caffe2 Detectron's), ``.pyth`` for pycls, ``.safetensors``; any other: ``torch.save``.

    Returns:
        ``model`` (tensors or arrays by name) and everything else in the file, on the CPU.
        ``matching_heuristics`` is set if the names lack prefixes of a detector's names;
        ``__author__`` is ``"Caffe2"`` for names of Caffe2 Detectron.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, is none of weights, or names a function that is not
            allowed; nothing in it has been executed.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"{path} is a folder: {REMEDY}")
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {path}: {REMEDY}")
    reader, layout = FORMATS.get(file.suffix, (_read_torch, _from_torch))
    try:
        contents = reader(file)
    except Exception as error:  # a reader can raise anything on a broken file
        raise ValueError(f"{path}{_fault(file, error)}") from error
    if not isinstance(contents, Mapping):
        raise ValueError(f"{path} has no weights (it is a {type(contents).__name__}): {REMEDY}")
    checkpoint = layout(contents)
    if not _are_weights(checkpoint["model"]):
        keys = ", ".join(map(str, list(contents)[:5])) or "nothing"
        raise ValueError(f"{path} has no weights (it contains {keys}): {REMEDY}")
    return checkpoint


def _are_weights(found: Any) -> bool:
    return (
        isinstance(found, Mapping)
        and all(isinstance(name, str) for name in found)
        and any(isinstance(value, torch.Tensor | np.ndarray) for value in found.values())
    )


def split_query(path: str) -> tuple[str, bool]:
    """A path or address without its query, and whether that asks to match names by their suffix.

    Raises:
        ValueError: the query is not ``?matching_heuristics=True``.
    """
    # A file may have a question mark in its name.
    if os.path.exists(path):
        return path, False
    address = urlparse(path)
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    heuristics = query.pop("matching_heuristics", "False")
    if query or heuristics not in ("True", "False"):
        raise ValueError(
            f"{path}: the only query is ?matching_heuristics=True, got {address.query!r}"
        )
    return address._replace(query="").geturl(), heuristics == "True"


def _read_torch(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        # torch writes checksums of all tensors but does not verify them.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{_CHECKSUM} {damaged} is wrong")
    with torch.serialization.safe_globals(SAFE_FOR_TORCH), warnings.catch_warnings():
        # Warnings of the pickle protocol; the file is read or an error is raised.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    """Tensors under ``model``, and what this project's files say beside them."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        known = notes_in(file.metadata())
        return {**known, "model": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118


def _fault(file: Path, error: Exception) -> str:
    """What is wrong with a file that its reader cannot read, and what to do."""
    with file.open("rb") as opened:
        beginning = opened.read(32)
    reason = _reason(error)
    if beginning.startswith(b"version https://git-lfs"):
        return " is a pointer of Git LFS, not the file itself: run git lfs pull"
    if beginning.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return f" is a web page, not a file of weights: {AGAIN}"
    if _is_damaged(file, beginning, error):
        return f" is damaged ({reason}): {AGAIN}"
    return f": refused, not a valid file of weights ({reason}): {REMEDY}"


def _is_damaged(file: Path, beginning: bytes, error: Exception) -> bool:
    """Whether it begins as its readers expect, and then is not whole."""
    if not beginning:
        return True
    if file.suffix == ".safetensors":  # the length of a header in JSON, and its first character
        return beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") < 1 << 32
    if beginning.startswith(b"PK\3\4"):
        return not zipfile.is_zipfile(file) or _CHECKSUM in str(error)
    # A pickle: that other ones cannot be read does not tell whether they ever could.
    cut = re.search("truncated|EOF|Ran out of input|corrupted", str(error))
    return beginning[:1] == b"\x80" and bool(cut or isinstance(error, EOFError))


def _reason(error: Exception) -> str:
    """One line: the name that was refused, or the first sentence (torch's message is a page)."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return refused(named[1])
    if isinstance(error, EOFError):
        return "it is empty or truncated"
    return re.split(r"\. |\n", f"{type(error).__name__}: {error}")[0][:200]


def _from_torch(contents: Mapping[str, Any]) -> dict[str, Any]:
    """This project's and Detectron2's have ``model``, others ``state_dict`` or no such key."""
    if "model" in contents:
        return dict(contents)
    return {"model": contents.get("state_dict", contents)}


def _from_zoo(contents: Mapping[str, Any]) -> dict[str, Any]:
    """Detectron2's have ``model``; Caffe2 Detectron's have ``blobs`` or are the blobs."""
    if "model" in contents:
        return dict(contents)
    blobs = contents.get("blobs", contents)
    if isinstance(blobs, Mapping):
        # As Detectron2 does: the optimizer's momentum and the order of the blobs are no weights.
        blobs = {
            name: value
            for name, value in blobs.items()
            if name != "weight_order" and not str(name).endswith("_momentum")
        }
    # These names lack a detector's prefixes (backbone.bottom_up.): they are matched by suffix.
    return {"model": blobs, "__author__": "Caffe2", "matching_heuristics": True}


def _from_pycls(contents: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": contents.get("model_state"),
        "__author__": "pycls",
        "matching_heuristics": True,
    }


FORMATS: dict[str, tuple[Callable[[Path], Any], Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    ".pkl": (read_pickle, _from_zoo),
    ".pyth": (_read_torch, _from_pycls),
    ".safetensors": (_read_safetensors, dict),
}
