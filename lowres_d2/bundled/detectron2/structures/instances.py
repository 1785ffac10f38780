"""Per-image instances: N objects of one image, any number of fields with N entries each.

Frame: whatever `image_size` (height, width) says; boxes among the fields are in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class Instances:
    """Fields of equal length, read and written as attributes.

    Usual fields: `gt_boxes`, `gt_classes` (ground truth); `proposal_boxes`, `objectness_logits`
    (proposals); `pred_boxes`, `scores`, `pred_classes` (detections).
    """

    def __init__(self, image_size: tuple[int, int], **kwargs: Any):
        """Start with the given fields.

        Args:
            image_size: (height, width) of the image that the fields refer to.
            **kwargs: fields.
        """
        # Not through __setattr__, which stores fields.
        self.__dict__.update(_image_size=image_size, _fields={})
        for name, value in kwargs.items():
            self.set(name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self._image_size

    def __setattr__(self, name: str, val: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, val)
        else:
            self.set(name, val)

    def __getattr__(self, name: str) -> Any:
        # `_fields` itself is missing while copy or pickle rebuild the object.
        fields = self.__dict__.get("_fields", {})
        if name not in fields:
            raise AttributeError(f"Instances has no field {name!r}; it has {sorted(fields)}")
        return fields[name]

    def set(self, name: str, value: Any) -> None:
        """Store a field; its length must be that of the others."""
        if self._fields:
            assert len(value) == len(self), (
                f"field {name!r} has {len(value)} entries, the other fields have {len(self)}"
            )
        self._fields[name] = value

    def has(self, name: str) -> bool:
        """Whether there is a field of that name."""
        return name in self._fields

    def remove(self, name: str) -> None:
        """Delete a field."""
        del self._fields[name]

    def get(self, name: str) -> Any:
        """The field of that name; KeyError if there is none."""
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """The fields by name; changing the dict changes the instances."""
        return self._fields

    def to(self, *args: Any, **kwargs: Any) -> Instances:
        """A copy whose fields went through their own `to`, where they have one."""
        moved = Instances(self._image_size)
        for name, value in self._fields.items():
            moved.set(name, value.to(*args, **kwargs) if hasattr(value, "to") else value)
        return moved

    def __getitem__(self, item: int | slice | Tensor) -> Instances:
        """The instances that `item` (index, slice, index tensor or bool mask) selects."""
        if type(item) is int:
            if not -len(self) <= item < len(self):
                raise IndexError(f"instance {item} of {len(self)}")
            # A slice keeps the axis; from -1 it must run to the end.
            item = slice(item, item + 1 or None)
        selected = Instances(self._image_size)
        for name, value in self._fields.items():
            selected.set(name, value[item])
        return selected

    def __len__(self) -> int:
        for value in self._fields.values():
            return len(value)
        raise NotImplementedError("Instances without fields have no length")

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError("Instances cannot be iterated; index them, or iterate a field")

    @staticmethod
    def cat(instance_lists: Sequence[Instances]) -> Instances:
        """All instances of images of one size, in order.

        Args:
            instance_lists: at least one, with the same fields; a field is a tensor, a list, or of a
                type that has `cat`.
        """
        assert len(instance_lists) > 0, "Instances.cat: nothing to concatenate"
        assert all(isinstance(i, Instances) for i in instance_lists), "Instances.cat: not Instances"
        first = instance_lists[0]
        if len(instance_lists) == 1:
            return first
        # A traced size is a tensor, of which equality says nothing.
        if not isinstance(first.image_size, Tensor):
            sizes = {tuple(i.image_size) for i in instance_lists}
            assert len(sizes) == 1, f"Instances.cat: different image sizes {sorted(sizes)}"
        joined = Instances(first.image_size)
        for name in first._fields:
            joined.set(name, _concatenate(name, [i.get(name) for i in instance_lists]))
        return joined

    def __str__(self) -> str:
        parts = [
            f"image_height={self._image_size[0]}",
            f"image_width={self._image_size[1]}",
            "fields=[" + ", ".join(f"{k}: {v}" for k, v in self._fields.items()) + "]",
        ]
        if self._fields:
            parts.insert(0, f"num_instances={len(self)}")
        return f"{type(self).__name__}({', '.join(parts)})"

    __repr__ = __str__


def _concatenate(name: str, values: list[Any]) -> Any:
    kind = type(values[0])
    if isinstance(values[0], Tensor):
        return torch.cat(values, dim=0)
    if isinstance(values[0], list):
        return list(itertools.chain(*values))
    if hasattr(kind, "cat"):
        return kind.cat(values)
    raise ValueError(f"Instances.cat: field {name!r} is a {kind.__name__}, which has no `cat`")
