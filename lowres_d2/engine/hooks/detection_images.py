"""Draw detections on a few test images into TensorBoard at every evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from lowres_d2.data.corners import cut_corner
from lowres_d2.data.image import reader_of

import numpy as np
import torch
from detectron2.config import instantiate
from detectron2.engine import HookBase
from detectron2.utils.events import get_event_storage
from detectron2.utils.visualizer import Visualizer
from omegaconf import DictConfig
from torch import nn


class DetectionImages(HookBase):
    """Puts ground truth beside detections of the first test images into the event storage.

    Args:
        cfg: the recipe with its data sets built; images come from its test loader.
        model: the evaluated model.
        period: iterations between two drawings, the same as between evaluations; 0 draws none.
        count: number of images.
        threshold: least score of the detections that are drawn.
    """

    def __init__(
        self,
        cfg: DictConfig,
        model: nn.Module,
        period: int,
        count: int = 4,
        threshold: float = 0.3,
    ) -> None:
        self._cfg, self._model, self._period = cfg, model, period
        self._count, self._threshold = count, threshold
        self._reader = reader_of(cfg.dataloader.test.get("mapper"))

    def after_step(self) -> None:
        if self._period and (self.trainer.iter + 1) % self._period == 0:
            self._draw()

    @torch.no_grad()
    def _draw(self) -> None:
        dataset = self._cfg.dataloader.test.dataset
        first = list(islice(dataset, self._count))
        if any("label" in entry for entry in first):  # of a classifier, which detects nothing
            return
        loader = instantiate(self._cfg.dataloader.test)
        # Looked up by id, since the loader may skip a broken image.
        truth = {entry["image_id"]: entry for entry in first}
        # A user's own data set may not name its classes.
        classes = getattr(dataset, "classes", None)
        self._model.eval()
        for batch in islice(loader, self._count):
            for entry, output in zip(batch, self._model(batch), strict=True):
                if "instances" in output and entry["image_id"] in truth:
                    image = self._pair(truth[entry["image_id"]], output, classes)
                    name = f"detections/{entry['image_id']}"
                    get_event_storage().put_image(name, image.transpose(2, 0, 1))
        # SimpleTrainer asserts this; StageSchedule then restores the modules that it keeps in eval.
        self._model.train()

    def _pair(self, entry: dict, output: dict, classes: Sequence[str] | None) -> np.ndarray:
        """Ground truth on the left, detections on the right: RGB uint8, (H, 2 W, 3)."""
        image = cut_corner(self._reader.show(entry["file_name"]), entry)
        found = output["instances"].to("cpu")
        found = found[found.scores >= self._threshold]
        left, right = Visualizer(image), Visualizer(image)
        objects = entry.get("annotations", [])  # none where the test set has no labels
        left.overlay_instances(
            boxes=[_corners(a["bbox"], a["bbox_mode"]) for a in objects],
            labels=[_name(classes, a["category_id"]) for a in objects],
        )
        labels, scores = found.pred_classes.tolist(), found.scores.tolist()
        right.overlay_instances(
            boxes=found.pred_boxes.tensor.numpy(),
            labels=[
                f"{_name(classes, label)} {score:.2f}"
                for label, score in zip(labels, scores, strict=True)
            ],
        )
        return np.hstack([left.get_output().get_image(), right.get_output().get_image()])


def _name(classes: Sequence[str] | None, label: int) -> str:
    return f"class {label}" if classes is None else classes[label]


def _corners(box: list[float], mode: int) -> list[float]:
    from detectron2.structures import BoxMode

    return BoxMode.convert(list(box), mode, BoxMode.XYXY_ABS)
