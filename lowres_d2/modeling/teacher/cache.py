"""A teacher's outputs on disk, for images that come back unchanged epoch after epoch.

An entry belongs to the content of an image, to the teacher's weights and to the taps: another
augmentation is another image, so that what is read is never another's. Each image goes through
the teacher alone, and what is given is rounded to float16 (relative error 2^-11) whether it was
read or has just been computed: losses depend neither on the images' company nor on what the cache
holds. Without it the images of a batch of several sizes see each other through their padding.

Shapes: N images, C channels, h and w cells; each output of one image has 1 in place of N.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.modeling.teacher.cache_store import CacheEntry, CacheStore
from lowres_d2.modeling.teacher.tap import Tap

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Captures = Mapping[Tap, list[Any]]


class TeacherCache:
    """Outputs of a frozen teacher, computed once an image.

    After a change of the network's code its folder is to be deleted: weights and layers tell the
    teachers in it apart, code does not.

    Args:
        folder: where they are kept; each teacher with each choice of taps has a folder in it.
        limit_gb: the most that one of these may hold, in 10^9 bytes.

    Attributes:
        dataset_size: how many images there are, for an estimate of the size; set by the run.
    """

    def __init__(self, folder: str | Path, limit_gb: float = 20.0) -> None:
        self.folder = Path(folder)
        self.limit_gb = limit_gb
        self.dataset_size: int | None = None
        self._stores: dict[tuple[str, ...], CacheStore] = {}

    def outputs(
        self,
        images: Sequence[Tensor],
        taps: Collection[Tap],
        compute: Callable[[Tensor], Captures],
        teacher: str,
    ) -> dict[Tap, list[Tensor]]:
        """What the taps capture of these images, read or computed.

        Args:
            images: (C, H, W) each, of any sizes.
            taps: places in the teacher.
            compute: captures of one image.
            teacher: fingerprint of the network, of :func:`fingerprint`.

        Returns:
            For each tap one tensor a call, (N, ...), on the images' device: float16 on a GPU,
            float32 on a CPU. Maps (N, C, h, w) of images of several sizes are padded with zeros.

        Raises:
            ValueError: a tap captures what cannot be cached, or all of it would not fit.
        """
        ordered = sorted(taps, key=repr)
        names = (teacher, *map(repr, ordered))
        store = self._stores.get(names)
        if store is None:
            folder = self.folder / hashlib.sha256(repr(names).encode()).hexdigest()[:16]
            store = self._stores[names] = CacheStore(folder, self.limit_gb, self.dataset_size)
        keys = [content_key(image) for image in images]
        entries = [store.read(key) for key in keys]
        fresh = {
            key: _entry(compute(image), ordered)
            for key, image, entry in zip(keys, images, entries, strict=True)
            if entry is None
        }
        store.write(fresh)
        entries = [entry or fresh[key] for key, entry in zip(keys, entries, strict=True)]
        device = images[0].device
        tensors = iter(_batch(entries, device))
        return {
            tap: [next(tensors) for _ in range(calls)]
            for tap, calls in zip(ordered, entries[0].calls, strict=True)
        }


def fingerprint(network: nn.Module, *more: object) -> str:
    """Of a network's layers and values, and of whatever else its outputs depend on."""
    described = re.sub(r" at 0x[0-9a-f]+", "", repr((network, more)))  # of functions among layers
    digest = hashlib.sha256(described.encode())
    for tensors in (network.named_parameters(), network.named_buffers()):
        for name, tensor in tensors:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def content_key(image: Tensor) -> str:
    """Key of an image's shape and values, (C, H, W) in [0, 1]."""
    # Images made of bytes are told apart by these, a quarter of the data; others by their floats.
    scaled = image * 255
    content = scaled.to(torch.uint8)
    if scaled.sub_(content).count_nonzero():
        content = image
    digest = hashlib.sha256(f"{content.dtype}{tuple(content.shape)}".encode())
    digest.update(content.cpu().contiguous().numpy())
    return digest.hexdigest()[:32]


def _entry(captured: Captures, taps: Sequence[Tap]) -> CacheEntry:
    values, shapes = [], []
    for tap in taps:
        for output in captured[tap]:
            half = _rounded(output, tap)
            values.append(half.flatten().cpu())
            shapes.append(list(half.shape))
    return CacheEntry(torch.cat(values), shapes, [len(captured[tap]) for tap in taps])


def _rounded(output: Any, tap: Tap) -> Tensor:
    """An output of one image in float16, refused where it is none or does not fit in."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.shape[:1] != (1,):
        found = f"{tuple(output.shape)} {output.dtype}" if isinstance(output, Tensor) else ""
        raise ValueError(
            f"teacher cache: tap {tap.path} captures {type(output).__name__} {found}".rstrip()
            + " of one image; only floating-point tensors (1, ...) can be cached: train without "
            "model.teacher.cache, or without the objective that reads it"
        )
    half = output.half()
    if not torch.equal(half.isfinite(), output.isfinite()):
        raise ValueError(
            f"teacher cache: tap {tap.path} reaches {output.abs().max():.3g}, beyond float16: "
            "train without model.teacher.cache"
        )
    return half


def _batch(entries: Sequence[CacheEntry], device: torch.device) -> list[Tensor]:
    """The outputs of several images put together, one tensor (N, ...) a call."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    first = entries[0].shapes
    if all(entry.shapes == first for entry in entries):
        values = torch.stack([entry.values for entry in entries]).to(device, dtype)
        parts = values.split([math.prod(shape) for shape in first], dim=1)
        return [
            part.view(len(entries), *shape[1:]) for part, shape in zip(parts, first, strict=True)
        ]
    outputs = zip(*(entry.split() for entry in entries), strict=True)
    return [torch.cat(_same_size(maps)).to(device, dtype) for maps in outputs]


def _same_size(maps: Sequence[Tensor]) -> list[Tensor]:
    if all(one.shape == maps[0].shape for one in maps):
        return list(maps)
    if any(one.ndim != 4 for one in maps):
        raise ValueError(
            f"teacher cache: outputs of {[tuple(one.shape) for one in maps]} of images of "
            "several sizes cannot be put together: give all images one size, or train without "
            "model.teacher.cache"
        )
    height, width = (max(one.shape[axis] for one in maps) for axis in (2, 3))
    return [F.pad(one, (0, width - one.shape[3], 0, height - one.shape[2])) for one in maps]
