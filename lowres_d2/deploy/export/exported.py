"""An exported file as a Detectron2 model: what ``lowres_d2.load`` gives images to."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from lowres_d2.deploy.export.candidates import Selection
from lowres_d2.deploy.export.formats import Format, Run, format_of
from lowres_d2.deploy.export.graph import finished
from lowres_d2.deploy.export.sealed import Known

from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from jaxtyping import Shaped
from torch import Tensor


class ExportedModel:
    """A model whose network a runtime runs, on the CPU, image by image.

    Args:
        run: from an image to what the graph gives.
        known: the file's metadata.
        entry: its format.
    """

    def __init__(self, run: Run, known: Known, entry: Format) -> None:
        self._run, self.known, self.format = run, known, entry
        self._factor = Fraction(known.factor)
        self._selection = None if known.selection is None else Selection(**known.selection)

    def __call__(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As a Detectron2 model in evaluation mode.

        Args:
            batched_inputs: for each image ``image`` (C, H, W), 0 to 255, and ``height`` and
                ``width`` of the frame that detections are scaled to, by default the image's.

        Raises:
            ValueError: an image has another number of channels, or another size than the only one
                that the file takes.
        """
        return [self._one(x) for x in batched_inputs]

    def _one(self, x: dict[str, Any]) -> dict[str, Any]:
        image = x["image"].cpu()
        self._check(image, x.get("file_name", "an image"))
        found = self._run(image.float().contiguous())
        if self._selection is None:
            return {"scores": found[0]}
        size = image.shape[-2], image.shape[-1]
        if not self.format.selects:
            levels = list(zip(found[::2], found[1::2], strict=True))
            found = finished(levels, self._selection, size, self._factor)
        boxes, scores, classes = found
        instances = Instances(size, pred_boxes=Boxes(boxes), scores=scores, pred_classes=classes)
        wanted = x.get("height", size[0]), x.get("width", size[1])
        return {"instances": detector_postprocess(instances, *wanted)}

    def _check(self, image: Shaped[Tensor, "C H W"], name: str) -> None:
        channels, *size = image.shape
        if channels != self.known.channels:
            raise ValueError(
                f"{name} has {channels} channels, the exported model takes {self.known.channels}"
            )
        if self.known.size and size != list(self.known.size):
            raise ValueError(
                f"{name} has {size[0]}x{size[1]} pixels (height x width), the exported model takes "
                f"{self.known.size[0]}x{self.known.size[1]} alone"
            )


def load_exported(path: str | Path) -> ExportedModel:
    """The model in an exported file.

    Args:
        path: from :func:`export_model`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: its name has another suffix, or it is no file of ours, of another version or
            damaged.
        ModuleNotFoundError: its runtime is not installed.
    """
    path = Path(path)
    entry = format_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    entry.check_packages(entry.to_read)
    known, run = entry.backend().read(path)
    return ExportedModel(run, known, entry)
