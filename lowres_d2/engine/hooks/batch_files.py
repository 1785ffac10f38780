"""Convert a batch to plain tensors, numbers, strings and containers, and back.

A file that holds nothing else can be read without executing anything in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

BOXES, INSTANCES = "Boxes", "Instances"


def pack_batch(batch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The samples of a batch; values of other types are dropped and named under ``left_out``."""
    return [_pack_sample(sample) for sample in batch]


def unpack_batch(packed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The batch that :func:`pack_batch` was given, without the values that it dropped."""
    return [
        {key: _unpack(value) for key, value in sample.items() if key != "left_out"}
        for sample in packed
    ]


def image_name(position: int, sample: Mapping[str, Any]) -> str:
    """Name of an image of a batch for messages: its file, and its id if it has one."""
    name = sample.get("file_name", f"image {position} of the batch")
    return f"{name} (image_id {sample['image_id']})" if "image_id" in sample else str(name)


def _pack_sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    packed: dict[str, Any] = {}
    left_out = []
    for key, value in sample.items():
        try:
            packed[key] = _pack(value)
        except TypeError:
            left_out.append(key)
    return packed | {"left_out": left_out} if left_out else packed


def _pack(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()  # saving a view would save its whole storage
    if isinstance(value, np.ndarray | np.generic):
        return torch.as_tensor(value).clone()
    # Not as objects: readers that execute nothing refuse a pickle that names their classes.
    if isinstance(value, Boxes):
        return {BOXES: _pack(value.tensor)}
    if isinstance(value, Instances):
        return {INSTANCES: _pack(value.get_fields()), "image_size": _pack(value.image_size)}
    if isinstance(value, Mapping):
        return {key: _pack(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(part) for part in value]
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be saved as plain data")


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(part) for part in value]
    if not isinstance(value, dict):
        return value
    if BOXES in value:
        return Boxes(value[BOXES])
    if INSTANCES in value:
        fields = {name: _unpack(field) for name, field in value[INSTANCES].items()}
        return Instances(tuple(value["image_size"]), **fields)
    return {key: _unpack(part) for key, part in value.items()}
