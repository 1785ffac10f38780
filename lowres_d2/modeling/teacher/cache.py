"""A teacher's outputs cached on disk, for images that are the same in every epoch.

The key of an entry is the content of an image, the teacher's weights and the taps, so that an image
with another augmentation has another entry. The teacher runs on one image at a time, and outputs
are rounded to float16 (relative error 2^-11) even if they have just been computed. Losses therefore
depend neither on the other images of a batch nor on what the cache contains. (Without a cache,
images of different sizes in a batch affect each other through their padding.)
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
from jaxtyping import Float, Float16
from torch import Tensor, nn

Captures = Mapping[Tap, list[Any]]


class TeacherCache:
    """Outputs of a frozen teacher, computed once per image.

    Delete the folder after a change of the network's code: teachers are identified by their layers
    and weights, not by their code.

    Args:
        folder: folder of all caches; each teacher with each choice of taps has a subfolder.
        limit_gb: maximum size of a subfolder on its disk, in 10^9 bytes.

    Attributes:
        dataset_size: number of images, to estimate the size of the cache; set by the run.
        versions: number of versions of each that random augmentation makes; None: ever new ones;
            set by the run.
    """

    def __init__(self, folder: str | Path, limit_gb: float = 20.0) -> None:
        self.folder = Path(folder)
        self.limit_gb = limit_gb
        self.dataset_size: int | None = None
        self.versions: int | None = 1
        self._stores: dict[tuple[str, ...], CacheStore] = {}

    def outputs(
        self,
        images: Sequence[Float[Tensor, "C _H _W"]],
        taps: Collection[Tap],
        compute: Callable[[Float[Tensor, "C H W"]], Captures],
        teacher: str,
    ) -> dict[Tap, list[Float[Tensor, " N *_any"]]]:
        """Read the teacher's outputs for these images, and compute those that are not cached.

        Args:
            images: images in [0, 1].
            taps: taps in the teacher.
            compute: returns the captures of one image.
            teacher: the network's :func:`fingerprint`.

        Returns:
            One tensor per call for each tap, on the images' device: float16 on a GPU, float32 on a
            CPU. Feature maps of images of several sizes are padded with zeros.

        Raises:
            ValueError: a tap captures something that cannot be cached, or the outputs of the whole
                data set would not fit.
        """
        # Taps come as a set, whose order differs from process to process.
        ordered = sorted(taps, key=repr)
        names = (teacher, *map(repr, ordered))
        store = self._stores.get(names)
        if store is None:
            folder = self.folder / hashlib.sha256(repr(names).encode()).hexdigest()[:16]
            store = self._stores[names] = CacheStore(
                folder, self.limit_gb, self.dataset_size, self.versions or 1
            )
        device = images[0].device
        # On a CPU autocast is to bfloat16, and concatenates no float16.
        with torch.autocast(device.type, enabled=False):
            keys = [content_key(image) for image in images]
            entries = [store.read(key) for key in keys]
            fresh = {
                key: _entry(compute(image), ordered)
                for key, image, entry in zip(keys, images, entries, strict=True)
                if entry is None
            }
            store.write(fresh)
            entries = [entry or fresh[key] for key, entry in zip(keys, entries, strict=True)]
            tensors = iter(_batch(entries, device))
        return {
            tap: [next(tensors) for _ in range(calls)]
            for tap, calls in zip(ordered, entries[0].calls, strict=True)
        }


def fingerprint(network: nn.Module, *more: object) -> str:
    """Hash of a network's layers and values, and of whatever else its outputs depend on."""
    # Addresses of functions among the layers differ between processes.
    described = re.sub(r" at 0x[0-9a-f]+", "", repr((network, more)))
    digest = hashlib.sha256(described.encode())
    for tensors in (network.named_parameters(), network.named_buffers()):
        for name, tensor in tensors:
            digest.update(name.encode())
            # As bytes, because numpy has no bfloat16.
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def content_key(image: Float[Tensor, "C H W"]) -> str:
    """Hash of the shape and values of an image in [0, 1]."""
    # If all values are bytes / 255, the bytes are hashed, a quarter of the data; else the floats.
    scaled = image * 255
    content = scaled.to(torch.uint8)
    # In place: `scaled` is our own, and a large image is expensive to copy.
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


def _rounded(output: Any, tap: Tap) -> Float16[Tensor, " 1 *any"]:
    """Round an output of one image to float16, or refuse what is no tensor or out of range."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.shape[:1] != (1,):
        found = f"{tuple(output.shape)} {output.dtype}" if isinstance(output, Tensor) else ""
        raise ValueError(
            f"teacher cache: tap {tap.path} captures {type(output).__name__} {found}".rstrip()
            + " of one image; only floating-point tensors (1, ...) can be cached: train without "
            "model.teacher.cache, or without the objective that reads it"
        )
    half = output.half()
    # A teacher's own infinities are no fault of float16.
    if not torch.equal(half.isfinite(), output.isfinite()):
        raise ValueError(
            f"teacher cache: tap {tap.path} reaches {output.abs().max():.3g}, beyond float16: "
            "train without model.teacher.cache"
        )
    return half


def _batch(entries: Sequence[CacheEntry], device: torch.device) -> list[Float[Tensor, " N *_any"]]:
    """Concatenate the outputs of several images, one tensor per call."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    first = entries[0].shapes
    if all(entry.shapes == first for entry in entries):
        # One transfer for all outputs of all images; the parts are views of it.
        values = torch.stack([entry.values for entry in entries]).to(device, dtype)
        parts = values.split([math.prod(shape) for shape in first], dim=1)
        return [
            part.view(len(entries), *shape[1:]) for part, shape in zip(parts, first, strict=True)
        ]
    outputs = zip(*(entry.split() for entry in entries), strict=True)
    return [torch.cat(_same_size(of_call)).to(device, dtype) for of_call in outputs]


def _same_size(outputs: Sequence[Float[Tensor, " 1 *_any"]]) -> list[Float[Tensor, " 1 *_any"]]:
    """Pad feature maps with zeros to the size of the largest; other outputs must have one shape."""
    if all(one.shape == outputs[0].shape for one in outputs):
        return list(outputs)
    if any(one.ndim != 4 for one in outputs):
        raise ValueError(
            f"teacher cache: outputs of shapes {[tuple(one.shape) for one in outputs]} from images "
            "of several sizes cannot be batched: give all images one size, or train without "
            "model.teacher.cache"
        )
    height, width = (max(one.shape[axis] for one in outputs) for axis in (2, 3))
    return [F.pad(one, (0, width - one.shape[3], 0, height - one.shape[2])) for one in outputs]
