"""The frozen teacher: any detector, run on the full-resolution images up to its last tap.

It is a plain object, not a submodule of the model that holds it: it is not in that model's state
dict, parameters, ``train()`` and DDP; copies share it; pickling drops it. Images are float32 in
[0, 1].
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
from jaxtyping import Float
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class Teacher:
    """A frozen network whose features the student learns from.

    Args:
        model: the network, called on Detectron2 inputs.
        checkpoint: its weights, read when training starts: the path or address of a run's
            checkpoint, of a bare detector's weights or of a zoo file. Empty: a run refuses to start
            until it is set. None: use ``model`` with the weights that it has.
        flip_channels: reverse the channel order of the images (for a BGR teacher from the model zoo
            with an RGB student).
        use_average: use the moving average of the weights if the checkpoint has one; that run was
            evaluated with it.
        cache: stores captured features on disk, for training that repeats the same images.
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
        """Install the hooks for every tap that will ever be recorded."""
        self._recorder = TapRecorder(self.model, taps)

    @property
    def lacks_weights(self) -> bool:
        """Whether ``checkpoint`` is empty, so that the teacher's weights are undefined."""
        return self._checkpoint == ""

    def load(self) -> None:
        """Load the weights on the first call; :attr:`report` then says how they matched.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is broken, or a tensor of the network is missing in it.
        """
        if self._checkpoint:
            try:
                self.report = load_weights(
                    self.model, self._checkpoint, complete=True, use_average=self.use_average
                )
            except (FileNotFoundError, ValueError) as error:
                raise type(error)(f"the teacher (model.teacher.checkpoint): {error}") from error
            logger.info("teacher: %s", self.report)
            self._checkpoint = None

    def __call__(
        self, images: Sequence[Float[Tensor, "C _H _W"]], taps: Collection[Tap]
    ) -> dict[Tap, list[Any]]:
        """Run the network on these images and capture its features.

        Returns:
            One entry per call for each tap, in the dtype of the forward (autocast) or of the cache.
        """
        self.load()
        if self.cache is not None:
            return self.cache.outputs(
                images, taps, lambda image: self._captures([image], taps), self._fingerprint
            )
        return self._captures(images, taps)

    # Cached: it hashes every weight, and they are frozen.
    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model, self.flip_channels)

    def _captures(
        self, images: Sequence[Float[Tensor, "C _H _W"]], taps: Collection[Tap]
    ) -> dict[Tap, list[Any]]:
        device = images[0].device
        # Only necessary after a copy that shares this teacher has moved it to another device.
        if next(self.model.parameters()).device != device:
            self.model.to(device)
        inputs = [self._input(image) for image in images]
        # no_grad, not inference_mode: autograd saves the captured tensors for the backward pass.
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
        """Number of calls of the taps with ``call="all"``, counted in one whole forward.

        Later forwards can then stop early. The number may depend on the number of images.
        """
        known = self._calls.setdefault(len(inputs), {})
        unknown = [tap for tap in taps if tap.call == "all" and tap not in known]
        if unknown:
            with self._recorder.recording(unknown) as captured:
                self.model(inputs)
            known |= {tap: len(values) for tap, values in captured.items()}
        return {tap: known[tap] for tap in taps if tap.call == "all"}

    def _input(self, image: Float[Tensor, "C H W"]) -> dict[str, Any]:
        if self.flip_channels:
            image = image.flip(0)
        height, width = image.shape[-2:]
        return {"image": image * 255, "height": height, "width": width}

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(None), ()  # unpickles as None
