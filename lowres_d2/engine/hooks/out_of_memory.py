"""Report on which images an iteration ran out of memory, and what would make it fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lowres_d2.engine.hooks.batch_files import image_name

import torch
from detectron2.engine import HookBase
from torch import nn

REMEDY = (
    "lower dataloader.train.total_batch_size or the sizes in dataloader.train.mapper.augmentations,"
    " or set train.amp.enabled=true (on a GPU)"
)


class ImagesOutOfMemory(MemoryError):
    """An iteration did not fit into memory; the message is one line."""


class OutOfMemoryReport(HookBase):
    """Remembers the batch of the current iteration, for the error message."""

    def __init__(self) -> None:
        self._batch: Sequence[Mapping[str, Any]] = ()

    def before_train(self) -> None:
        loop = getattr(self.trainer, "_trainer", self.trainer)
        self._observer = loop.model.register_forward_pre_hook(self._see_batch)

    def after_train(self) -> None:
        self._observer.remove()

    def after_step(self) -> None:
        # An evaluation that runs out of memory must not name the images of the training.
        self._batch = ()

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Name the images of the batch if memory runs out.

        Raises:
            ImagesOutOfMemory: in place of torch's or numpy's error.
        """
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error) or not self._batch:
                raise
            images = "; ".join(_describe(k, sample) for k, sample in enumerate(self._batch))
            raise ImagesOutOfMemory(
                f"out of memory in iteration {self.trainer.iter}, on {images} "
                f"({_first_sentence(error)}): {REMEDY}"
            ) from error

    def _see_batch(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._batch = arguments[0]


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether it is one; torch's CPU allocator raises a plain RuntimeError."""
    kinds = (MemoryError, torch.cuda.OutOfMemoryError)
    return isinstance(error, kinds) or "DefaultCPUAllocator" in str(error)


def _describe(position: int, sample: Mapping[str, Any]) -> str:
    height, width = sample["image"].shape[-2:]
    objects = len(sample.get("instances", ()))
    return f"{image_name(position, sample)} of {width}x{height} pixels with {objects} objects"


def _first_sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    # torch's own source file and line stand in front of the allocator's name.
    return text[max(0, text.find("DefaultCPUAllocator")) :].split(". ")[0]
