"""The web page's detectors, and what each of them makes of an image.

Boxes are XYXY in pixels of the image, after EXIF's rotation where the recipe applies that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from lowres_d2.analysis.cost.latency import time_models
from lowres_d2.analysis.figures.detections import Objects
from lowres_d2.analysis.figures.drawing import Window, look
from lowres_d2.analysis.figures.views import model_view
from lowres_d2.data.image import reader_of
from lowres_d2.deploy.export.exported import ExportedModel
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.resample import AnyFactor
from lowres_d2.modeling.tiles import untiled
from lowres_d2.predictor import Predictor, load
from lowres_d2.programs.shown_runs import split_name
from lowres_d2.quick_models import models

from PIL import Image

LEAST_SCORE = 0.05  # detections of lower scores are not kept
# Of the quick models, what the page shows where nothing else is asked for.
SHOWN = ("full", "bicubic4", "thumbdet4", "any_factor", "one_bit")
SIDE = 640  # the longer side of what is shown, unless that would leave pixels of unequal sizes


@dataclass(frozen=True)
class Found:
    """What one detector made of an image.

    Attributes:
        image: the image, and
        seen: what the network received of it, both rendered at one size; pixels become squares.
        window: the part of the image that they show, all of it.
        image_size: height and width of the image.
        seen_size: height and width of what the network received.
        sees: the same in words; of a degraded image also what it was degraded to.
        factor: pixels of the mapper's image in one of those, or in one that it was degraded to.
        enlarged: rows and columns of those in one that it was degraded to; 1 unless it was.
        resampler: name of the class that made them.
        classes: names in the order of the labels.
        objects: with scores from ``LEAST_SCORE`` on.
        milliseconds: of the whole model, the median of three runs.
        macs: multiply-accumulates.
        ops: OPs (``lowres_d2.said_cost``); of a real-valued model the MACs.
    """

    image: Image.Image
    seen: Image.Image
    window: Window
    image_size: tuple[int, int]
    seen_size: tuple[int, int]
    sees: str
    factor: Fraction
    enlarged: float
    resampler: str
    classes: Sequence[str]
    objects: Objects
    milliseconds: float
    macs: float
    ops: float


class PageDetector:
    """A detector of the page, and where it serves several factors, that detector at each.

    Args:
        source: what :func:`lowres_d2.load` takes; ``RECIPE@WEIGHTS`` is a recipe with its weights.
        title: its heading; empty: a quick model's summary, else the name of the run or file.

    Attributes:
        knows: what a quick model was trained on; empty for others.
        factors: those of an any-factor detector, ascending; of others empty.

    Raises:
        FileNotFoundError, ValueError: as ``load`` does.
        ValueError: the model is a classifier, or in an exported file.
    """

    def __init__(self, source: str, title: str = "") -> None:
        self._source, _, self._weights = source.partition("@")
        quick = models().get(self._source)
        self.title = title or (quick.card.summary if quick else Path(self._source).stem)
        self.knows = quick.card.knows if quick else ""
        self.at_factor = lru_cache(self._at_factor)
        detector = self.at_factor(None)
        if isinstance(detector.model, ExportedModel):
            raise ValueError(
                f"{source}: is an exported file, which does not show what its network sees: give "
                "the run or quick model that was exported"
            )
        resampler = getattr(untiled(detector.model), "resampler", None)
        self.factors = sorted(resampler.factors) if isinstance(resampler, AnyFactor) else []
        if any(isinstance(part, ImageClassifier) for part in detector.model.modules()):
            raise ValueError(f"{source}: is of a classifier, which finds no boxes")

    def _at_factor(self, factor: Fraction | None) -> Predictor:
        overrides = [] if factor is None else [f"model.resampler.factor={factor}"]
        return load(self._source, self._weights or None, overrides=overrides)

    def nearest(self, factor: float) -> Fraction | None:
        """The factor of an any-factor detector that is nearest to this one; None of others."""
        return min(self.factors, key=lambda own: abs(own - factor), default=None)

    def find(self, path: str, factor: float) -> Found:
        """What the detector makes of an image.

        Args:
            path: file of the image.
            factor: of an any-factor detector.

        Raises:
            BrokenImageError: the image cannot be read.
            ValueError: the detector cannot take it: it is smaller than the factor, say.
        """
        detector = self.at_factor(self.nearest(factor))
        inputs = detector.prepare(path)
        (found,) = detector.detect([inputs], LEAST_SCORE)
        info = detector.info_on(inputs)
        entry = {key: inputs[key] for key in ("height", "width")} | {"file_name": path}
        seen = model_view(detector.model, detector.mapper)(entry)
        timing = time_models({self.title: detector.model}, [inputs])[self.title]
        size = entry["height"], entry["width"]
        window = (0.0, 0.0, float(size[1]), float(size[0]))
        shown_size = _shown_size(size)
        image = reader_of(detector.mapper).show(path)
        return Found(
            image=look(image, 1.0, window, shown_size),
            seen=look(seen.pixels, seen.factor, window, shown_size, seen.stretch),
            window=window,
            image_size=size,
            seen_size=seen.pixels.shape[:2],
            sees=seen.size,
            enlarged=seen.degradation,
            factor=info.factor,
            resampler=info.resampler,
            classes=info.classes,
            objects=Objects.of(found),
            milliseconds=1000 / timing.images_per_second,
            macs=info.macs,
            ops=info.ops,
        )


def _shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which an image is shown: small ones are enlarged by a whole number."""
    longest = max(size)
    scale = SIDE // longest if longest <= SIDE else SIDE / longest
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def open_detectors(texts: Sequence[str]) -> list[PageDetector]:
    """The detectors of ``[NAME=]RUN``; of none, those of the quick models in ``SHOWN``.

    Raises:
        FileNotFoundError, ValueError: one of them cannot be opened.
    """
    texts = texts or [name for name in SHOWN if name in models()]
    if not texts:
        raise FileNotFoundError("this installation has no quick models: give --model RUN ...")
    return [PageDetector(source, name) for name, source in map(split_name, texts)]
