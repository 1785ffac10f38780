"""What a ``.safetensors`` file of this project says beside its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

METADATA = "lowres_d2"  # key in the file's metadata, of json


def read_notes(path: str | Path) -> dict[str, Any]:
    """Recipe, classes and whatever else the file says; nothing of a file from elsewhere.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a valid ``.safetensors`` file.
    """
    # Here, since most of those who import this read no such file.
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return notes_in(file.metadata())
    except SafetensorError as error:
        raise ValueError(f"{path}: {error}: copy or download it again") from error


def write_noted(tensors: Mapping[str, Tensor], path: str | Path, notes: Mapping[str, Any]) -> None:
    """Write tensors and what :func:`read_notes` reads again; an existing file is replaced."""
    from safetensors.torch import save

    # Not save_file, whose files their owner alone may read.
    Path(path).write_bytes(save(dict(tensors), {METADATA: json.dumps(notes)}))


def notes_in(metadata: dict[str, str] | None) -> dict[str, Any]:
    """What the metadata of an open file says."""
    return json.loads((metadata or {}).get(METADATA, "{}"))
