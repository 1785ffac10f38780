"""The checkpointer of detectors: fvcore's, which also reads the formats of model zoos."""

from __future__ import annotations

import logging
import os
from typing import Any

from lowres_d2.weight_files import read_weight_file, split_query

from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from fvcore.common.checkpoint import Checkpointer
from torch import nn

logger = logging.getLogger(__name__)

# Not weights: recomputed or configured, so a checkpoint may lack or have them.
CONSTANTS_OF_MODEL = ("pixel_mean", "pixel_std")
CONSTANTS_OF_CHECKPOINT = "anchor_generator.cell_anchors"


class DetectionCheckpointer(Checkpointer):
    """fvcore's ``Checkpointer``, which reads besides its own files:

    * ``.pkl`` of Detectron2's and Caffe2 Detectron's model zoos, ``.pyth`` of pycls, and
      ``.safetensors``;
    * any path that ``PathManager`` knows, such as ``detectron2://...`` and ``https://...``;
    * with ``?matching_heuristics=True`` behind the path: weights whose names lack prefixes that the
      model's have.

    Files are read without running what they contain.

    Args:
        model: loaded and saved (without its DDP wrapper).
        save_dir: folder of checkpoints.
        save_to_disk: None saves on the main process only.
        **checkpointables: other objects with ``state_dict`` and ``load_state_dict``.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        save_to_disk: bool | None = None,
        **checkpointables: Any,
    ) -> None:
        if save_to_disk is None:
            save_to_disk = comm.is_main_process()
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.path_manager = PathManager
        self._use_heuristics = False

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint into the model and the other objects.

        Args:
            path: a file or address, with the query described above; empty for nothing.
            *args: as fvcore's.
            **kwargs: as fvcore's.

        Returns:
            What is left of the file's contents.
        """
        if path and not os.path.isfile(path):
            asked = path
            path, self._use_heuristics = split_query(path)
            path = self.path_manager.get_local_path(path)
            if not os.path.isfile(path):
                raise FileNotFoundError(f"{asked}: there is no such checkpoint")
        try:
            return super().load(path, *args, **kwargs)
        finally:
            self._use_heuristics = False

    def _load_file(self, f: str) -> dict[str, Any]:
        contents = read_weight_file(f)
        if self._use_heuristics:
            contents["matching_heuristics"] = True
        if "__author__" in contents:
            logger.info(f"{f} was made by {contents['__author__']!r}")
        return contents

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        if checkpoint.get("matching_heuristics"):
            weights, ours = checkpoint["model"], self.model.state_dict()
            self._convert_ndarray_to_tensor(weights)
            from_caffe2 = checkpoint.get("__author__") == "Caffe2"
            checkpoint["model"] = align_and_update_state_dicts(ours, weights, from_caffe2)
        incompatible = super()._load_model(checkpoint)
        buffers = dict(self.model.named_buffers())
        for name in CONSTANTS_OF_MODEL:
            if name in buffers and name in incompatible.missing_keys:
                incompatible.missing_keys.remove(name)
        for name in list(incompatible.unexpected_keys):
            if CONSTANTS_OF_CHECKPOINT in name:
                incompatible.unexpected_keys.remove(name)
        return incompatible
