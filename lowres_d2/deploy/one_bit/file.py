"""Packed detectors in files: bits of 1-bit layers, 8 in a byte, and all else in float32.

The format is safetensors. Its metadata has, under ``lowres_d2``, json of the version (``packed``),
``classes``, their ``category_ids``, ``recipe``, the text of a ``config.yaml`` from which the
network is built again, and ``sha256`` of all that and of the tensors, since a file's bits have no
other sign of damage; ``lowres_d2.weight_files`` reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.atomic import atomic_path
from lowres_d2.deploy.one_bit.packing import pack
from lowres_d2.deploy.one_bit.paths import chosen_path
from lowres_d2.file_notes import write_noted
from lowres_d2.modeling.weights import read_checkpoint

import torch
from torch import Tensor, nn

VERSION = 2
SUFFIX = ".safetensors"
# Of a composition: what training needs alone.
_NOT_USED = ("objectives.", "teacher.")
_KNOWN = ("packed", "recipe", "classes", "category_ids")


def save_packed(
    model: nn.Module,
    path: str | Path,
    recipe: str = "",
    classes: Sequence[str] = (),
    category_ids: Sequence[int] = (),
) -> None:
    """Write a packed model.

    Args:
        model: result of :func:`pack`.
        path: a ``.safetensors`` file, which is replaced as a whole.
        recipe: text of a ``config.yaml``.
        classes: names in the order of the labels.
        category_ids: ids of these in the annotation file of the training data.

    Raises:
        ValueError: the file's ending is another one, or a value is NaN.
        OSError: it cannot be written.
    """
    check_name(path)
    tensors = _used(model)
    _check_numbers(tensors, "the packed model")
    known = dict(zip(_KNOWN, (VERSION, recipe, list(classes), list(category_ids)), strict=True))
    known["sha256"] = _digest(known, tensors)
    with atomic_path(path, durable=True) as beside:
        write_noted(tensors, beside, known)


def check_name(path: str | Path) -> None:
    """Raise if a packed file cannot have this name.

    Raises:
        ValueError: its ending is another one.
    """
    if Path(path).suffix != SUFFIX:
        raise ValueError(f"{path}: expected a name that ends with {SUFFIX}")


def load_packed(model: nn.Module, path: str | Path) -> nn.Module:
    """A packed model from a file, on the CPU.

    Args:
        model: the 1-bit network that the file's recipe builds; its own weights do not matter.
        path: of :func:`save_packed`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is broken, no packed one, of another version, or of another network; or this
            machine has not the way of counting that ``LOWRES_D2_ONE_BIT`` asks for.
    """
    chosen_path()  # what it refuses is not the fault of the first image
    contents = read_checkpoint(path)
    version = contents.get("packed")
    if version is None:
        raise ValueError(f"{path} is not packed: make a packed file with `lowres-d2 pack`")
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"{path} is packed in version {version!r}, expected {VERSION}: pack it again, or take "
            "the lowres_d2 that wrote it"
        )
    found = contents["model"]
    if contents.get("sha256") != _digest({key: contents.get(key) for key in _KNOWN}, found):
        raise ValueError(f"{path} is damaged (its checksum is wrong): copy it or pack it again")
    model = pack(model)
    own = _used(model)
    wrong = [name for name in own if name not in found or found[name].shape != own[name].shape]
    wrong += [name for name in found if name not in own]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(f"{path} is of another network ({wrong[0]}{more}): take its own recipe")
    for name, x in found.items():
        if x.dtype != own[name].dtype:
            raise ValueError(f"{path}: {name} is {x.dtype}, expected {own[name].dtype}")
    _check_numbers(found, path)
    model.load_state_dict(found, strict=False)  # objectives are not in the file
    return model


def _used(model: nn.Module) -> dict[str, Tensor]:
    tensors = model.state_dict().items()
    return {name: x.contiguous().clone() for name, x in tensors if not name.startswith(_NOT_USED)}


def _check_numbers(tensors: Mapping[str, Tensor], where: str | Path) -> None:
    for name, x in tensors.items():
        if x.is_floating_point() and x.isnan().any():
            raise ValueError(f"{where}: {name} holds NaN: pack other weights")


def _digest(known: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Of what is known and of names, types, shapes and values of tensors, whatever their order."""
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name, x in sorted(tensors.items()):
        digest.update(f"\0{name}\0{x.dtype} {tuple(x.shape)}\0".encode())
        digest.update(x.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
