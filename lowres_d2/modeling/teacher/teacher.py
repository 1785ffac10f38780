"""The frozen teacher: any detector, on the full-resolution images, as far as its last tap.

It is a plain object and not a submodule of the model that holds it: absent from its state dict,
parameters, ``train()`` and DDP; shared by copies; dropped by pickling. Images are float32 in
[0, 1], CHW.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

from lowres_d2.modeling.teacher.cache import TeacherCache, fingerprint
from lowres_d2.modeling.teacher.tap import Tap, TapRecorder
from lowres_d2.modeling.weights import LoadReport, load_weights

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class Teacher:
    """Holder of a frozen network whose features are learned from.

    Args:
        model: the network, called on Detectron2 inputs.
        checkpoint: its weights, read when training starts: a run's checkpoint, a bare detector's or
            a zoo file, by path or address. Empty: a run refuses to start until it is set; None:
            ``model`` has its weights already, or is meant to be as it is built.
        flip_channels: the network wants the channels in the other order than the loader gives (a
            BGR teacher from the model zoo beside an RGB student).
        use_average: take the moving average of the weights, where the checkpoint has one; it is
            what that run was evaluated with.
        cache: keeps what the taps capture on disk, for runs that show the same images again.
    """

    def __init__(
        self,
        model: nn.Module,
        checkpoint: str | None = "",
        flip_channels: bool = False,
        use_average: bool = True,
        cache: TeacherCache | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.flip_channels = flip_channels
        self.use_average = use_average
        self.cache = cache
        self.report: LoadReport | None = None
        self._checkpoint = checkpoint
        self._recorder: TapRecorder | None = None
        self._calls: dict[int, dict[Tap, int]] = {}

    def watch(self, taps: Collection[Tap]) -> None:
        """Install the hooks for every tap that will ever be asked for."""
        self._recorder = TapRecorder(self.model, taps)

    @property
    def lacks_weights(self) -> bool:
        """Whether neither a checkpoint nor ``checkpoint=None`` says what its weights are."""
        return self._checkpoint == ""

    def load(self) -> None:
        """Read the weights, once; :attr:`report` then says how they met the network.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is broken, or lacks a tensor of the network.
        """
        if self._checkpoint:
            self.report = load_weights(
                self.model, self._checkpoint, complete=True, use_average=self.use_average
            )
            logger.info("teacher: %s", self.report)
            self._checkpoint = None

    def __call__(self, images: Sequence[Tensor], taps: Collection[Tap]) -> dict[Tap, list[Any]]:
        """What the taps capture of these images.

        Returns:
            For each tap one entry a call, in the precision that the forward ran at, or that of the
            cache.
        """
        self.load()
        if self.cache is not None:
            return self.cache.outputs(
                images, taps, lambda image: self._captures([image], taps), self._fingerprint
            )
        return self._captures(images, taps)

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model, self.flip_channels)

    def _captures(self, images: Sequence[Tensor], taps: Collection[Tap]) -> dict[Tap, list[Any]]:
        device = images[0].device
        # Reached only after a copy that shares this teacher went to another device.
        if next(self.model.parameters()).device != device:
            self.model.to(device)
        inputs = [self._input(image) for image in images]
        # no_grad and not inference_mode: what is captured goes into a backward.
        with torch.no_grad(), torch.autocast(device.type, torch.float16, device.type == "cuda"):
            calls = {tap: tap.call + 1 for tap in taps if tap.call != "all"}
            if len(calls) < len(taps):
                calls |= self._calls_of_open_taps(inputs, taps)
            with self._recorder.recording(taps, calls) as captured:
                self.model(inputs)
        return captured

    def _calls_of_open_taps(
        self, inputs: list[dict[str, Any]], taps: Collection[Tap]
    ) -> dict[Tap, int]:
        """How often taps with ``call="all"`` are passed: known after one whole forward.

        Only then can later ones stop early. It may depend on the number of images.
        """
        known = self._calls.setdefault(len(inputs), {})
        unknown = [tap for tap in taps if tap.call == "all" and tap not in known]
        if unknown:
            with self._recorder.recording(unknown) as captured:
                self.model(inputs)
            known |= {tap: len(values) for tap, values in captured.items()}
        return {tap: known[tap] for tap in taps if tap.call == "all"}

    def _input(self, image: Tensor) -> dict[str, Any]:
        if self.flip_channels:
            image = image.flip(0)
        height, width = image.shape[-2:]
        return {"image": image * 255, "height": height, "width": width}

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(None), ()  # unpickles as None
