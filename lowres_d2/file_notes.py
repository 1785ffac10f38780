"""What a ``.safetensors`` file of this project says beside its tensors, read without these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def notes_in(metadata: dict[str, str] | None) -> dict[str, Any]:
    """What the metadata of an open file says."""
    return json.loads((metadata or {}).get(METADATA, "{}"))
