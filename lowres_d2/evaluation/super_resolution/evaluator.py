"""PSNR and SSIM of super-resolved images, beside those of interpolated ones."""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lowres_d2.evaluation.found_boxes import check_image_ids, warn_of_non_finite
from lowres_d2.evaluation.super_resolution.similarity import luminance, psnr, ssim
from lowres_d2.own_files import own_path
from lowres_d2.structures import by_size

import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from jaxtyping import Float
from tabulate import tabulate
from torch import Tensor

SIMILARITIES = "super_resolution.json"  # the file of each image's metrics
TASK = "super_resolution"
_IMAGES = ("super_resolved", "target", "bicubic")
METRICS = ("psnr", "ssim", "psnr-bicubic", "ssim-bicubic")

logger = logging.getLogger(__name__)


class SuperResolutionEvaluator(DatasetEvaluator):
    """Compares what a ``SuperResolver`` makes with its targets, means over images.

    ``evaluate()`` returns ``{"super_resolution": ...}``: ``psnr`` in dB, ``ssim`` in percent, and
    ``psnr-bicubic`` and ``ssim-bicubic`` of the network's input enlarged by bicubic interpolation.
    All are None where an image of the network has NaN.
    Ranks other than the first return an empty dict.

    Attributes:
        main_metric: name of the metric that stands for the others.
        columns: metrics that tables show.
        predictions: name of the file of each image's metrics.
    """

    main_metric = f"{TASK}/psnr"
    columns = METRICS
    predictions = SIMILARITIES

    def __init__(
        self,
        dataset: Sequence[Mapping],
        output_dir: str | Path | None = None,
        channels: str = "rgb",
        border: int = 0,
    ) -> None:
        """
        Args:
            dataset: the test set; of its items only ``image_id`` counts.
            output_dir: where the first rank writes ``super_resolution.json``, the metrics of each
                image; None or "" writes nothing.
            channels: ``rgb``, or ``y``: luminance alone, as most papers on super-resolution have.
            border: pixels on each side that do not count; those papers leave out the factor's.

        Raises:
            ValueError: the test set has no images or two of one id, or an argument is not valid.
        """
        if channels not in ("rgb", "y"):
            raise ValueError(f"dataloader.evaluator.channels={channels!r}: expected rgb or y")
        if isinstance(border, bool) or not isinstance(border, int) or border < 0:
            raise ValueError(
                f"dataloader.evaluator.border={border!r}: expected a whole number, 0 or more"
            )
        self._ids = [record["image_id"] for record in dataset]
        if not self._ids:
            source = getattr(dataset, "source", "the test set")
            raise ValueError(f"{source}: has no images, so nothing can be evaluated")
        check_image_ids(self._ids, getattr(dataset, "source", "the test set"))
        self._output_dir = Path(output_dir) if output_dir else None
        self._channels, self._border = channels, border
        self._results: dict[str, float | None] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the images seen so far."""
        self._found: dict[int, tuple[float, ...]] = {}
        self._not_finite: set[int] = set()  # ids of images

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping]) -> None:
        """Add the images of a batch.

        Args:
            inputs: each with the ``image_id`` of the data set.
            outputs: each with ``super_resolved``, ``target`` and ``bicubic`` of one size
                (C, H, W), in [0, 1].

        Raises:
            ValueError: the border leaves nothing of an image.
        """
        # float64: in float32 a variance is a small difference of large numbers.
        images = [torch.stack([x[key] for key in _IMAGES]).detach().cpu().double() for x in outputs]
        for x, row in zip(inputs, by_size(self._rows, images), strict=True):
            if row.isfinite().all():
                self._found[x["image_id"]] = tuple(row.tolist())
            else:
                self._not_finite.add(x["image_id"])

    def evaluate(self) -> dict[str, dict[str, float | None]]:
        """Compute the means over the images so far; the class says of what.

        Raises:
            ValueError: there is an image that the data set does not have.
        """
        # An image that two ranks saw (some samplers pad) has one key, so it counts once.
        ranks, broken = comm.gather(self._found, dst=0), comm.gather(self._not_finite, dst=0)
        if not comm.is_main_process():
            return {}
        found = {image_id: row for rank in ranks for image_id, row in rank.items()}
        not_finite = set().union(*broken)
        strange = (found.keys() | not_finite) - set(self._ids)
        if strange:
            raise ValueError(
                f"a result for image {min(strange)!r}, which the data set does not have: is the "
                "evaluator given the data set that the loader reads?"
            )
        # Means over the others would praise a network that fails on some.
        warn_of_non_finite(not_finite, len(self._ids), "there are no metrics")
        missing = len(self._ids) - len(found) - len(not_finite)
        if missing:
            logger.warning(
                "%d of %d images were not shown to the model; the means are over the others",
                missing,
                len(self._ids),
            )
        self._write(found)
        self._images = len(found) + len(not_finite)
        rows = [] if not_finite else found.values()
        means = map(statistics.fmean, zip(*rows, strict=True))
        self._results = dict.fromkeys(METRICS) | dict(zip(METRICS, means, strict=False))
        return {TASK: dict(self._results)}

    def tables(self) -> str:
        """A table of the last :meth:`evaluate` as text: the network, and bicubic interpolation."""
        if self._results is None:
            raise RuntimeError(
                "SuperResolutionEvaluator.tables(): call evaluate() first (on rank 0)"
            )
        of = "all channels (RGB)" if self._channels == "rgb" else "luminance (Y of BT.601)"
        border = f"without {self._border} pixels at each border" if self._border else "all pixels"
        rows = [
            [name, *(_shown(self._results[f"{metric}{ending}"]) for metric in METRICS[:2])]
            for name, ending in (("network", ""), ("bicubic", "-bicubic"))
        ]
        head = ["images", "PSNR, dB", "SSIM, %"]
        table = tabulate(rows, head, tablefmt="github", disable_numparse=True)
        return f"{self._images} images, {of}, {border}; means over images\n\n{table}"

    def metric_objects(self) -> dict[str, int]:
        """All metrics of :meth:`evaluate`, known before it.

        Returns:
            By name, as ``super_resolution/psnr``, the number of images that it is measured on.
        """
        return {f"{TASK}/{name}": len(self._ids) for name in METRICS}

    def _rows(self, images: Float[Tensor, "N 3 C H W"]) -> Float[Tensor, "N columns"]:
        image, target, bicubic = images.unbind(dim=1)
        columns = [*self._compared(image, target), *self._compared(bicubic, target)]
        return torch.stack(columns, dim=1)

    def _compared(
        self, images: Float[Tensor, "N C H W"], targets: Float[Tensor, "N C H W"]
    ) -> Iterator[Float[Tensor, " N"]]:
        pair = (images, targets)
        if self._channels == "y":
            pair = tuple(map(luminance, pair))
        if self._border:
            (height, width), cut = targets.shape[-2:], self._border
            if min(height, width) <= 2 * cut:
                raise ValueError(
                    f"dataloader.evaluator.border={cut}: leaves nothing of images of "
                    f"{height}x{width} (height x width)"
                )
            pair = tuple(values[..., cut:-cut, cut:-cut] for values in pair)
        yield psnr(*pair)
        yield 100 * ssim(*pair)

    def _write(self, found: Mapping[int, tuple[float, ...]]) -> None:
        if self._output_dir is None:
            return
        rows = [
            {"image_id": image_id, **dict(zip(METRICS, found[image_id], strict=True))}
            for image_id in self._ids
            if image_id in found
        ]
        with own_path(self._output_dir / SIMILARITIES) as part:
            part.write_text(json.dumps(rows), encoding="utf-8")


def _shown(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"
