"""Packed detectors in files: bits of 1-bit layers, 8 in a byte, and all else in float32.

The format is safetensors. Its metadata has, under ``lowres_d2``, json of the version (``packed``),
``classes``, their ``category_ids``, and ``recipe``, the text of a ``config.yaml`` from which the
network is built again; ``lowres_d2.weight_files`` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.atomic import atomic_path
from lowres_d2.deploy.one_bit.packing import pack
from lowres_d2.modeling.weights import read_checkpoint
from lowres_d2.weight_files import METADATA

from safetensors.torch import save_file
from torch import Tensor, nn

VERSION = 1
SUFFIX = ".safetensors"
# Of a composition: what training needs alone.
_NOT_USED = ("objectives.", "teacher.")


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
        ValueError: the file's ending is another one.
        OSError: it cannot be written.
    """
    if Path(path).suffix != SUFFIX:
        raise ValueError(f"{path}: expected a name that ends with {SUFFIX}")
    known = {"packed": VERSION, "recipe": recipe}
    known |= {"classes": list(classes), "category_ids": list(category_ids)}
    with atomic_path(path, durable=True) as beside:
        save_file(_used(model), beside, {METADATA: json.dumps(known)})


def load_packed(model: nn.Module, path: str | Path) -> nn.Module:
    """A packed model from a file, on the CPU.

    Args:
        model: the 1-bit network that the file's recipe builds; its own weights do not matter.
        path: of :func:`save_packed`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is broken, no packed one, of another version, or of another network.
    """
    contents = read_checkpoint(path)
    version = contents.get("packed")
    if version is None:
        raise ValueError(f"{path} is not packed: make a packed file with `lowres-d2 pack`")
    if version != VERSION:
        raise ValueError(
            f"{path} is packed in version {version}, expected {VERSION}: pack it again, or take "
            "the lowres_d2 that wrote it"
        )
    model = pack(model)
    own, found = _used(model), contents["model"]
    wrong = [name for name in own if name not in found or found[name].shape != own[name].shape]
    wrong += [name for name in found if name not in own]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(f"{path} is of another network ({wrong[0]}{more}): take its own recipe")
    model.load_state_dict(found, strict=False)  # objectives are not in the file
    return model


def _used(model: nn.Module) -> dict[str, Tensor]:
    tensors = model.state_dict().items()
    return {name: x.contiguous().clone() for name, x in tensors if not name.startswith(_NOT_USED)}
