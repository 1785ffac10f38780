"""A whole model as one graph: an image in, what is on it out.

    image -> resampler -> network -> candidates -> selection -> scaled back, clipped to the image

Formats without NMS get the graph up to the candidates; the loader does the rest with the same
functions. Boxes are XYXY; H x W is the image that the mapper gives, h x w the network's.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from lowres_d2.deploy.export.candidates import Found, Level, Selection, clipped
from lowres_d2.deploy.export.formats import Format
from lowres_d2.deploy.export.forms import form_of
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import AnyFactor, Identity, Resampler
from lowres_d2.structures import low_res_size, pad_to_factor

from jaxtyping import Float, Shaped
from torch import Tensor, nn


class Graph(nn.Module):
    """What is exported of a model.

    Args:
        model: composition, detector or classifier, in evaluation mode on the CPU; is not changed.
        whole: whether the graph ends with detections, not with candidates.

    Raises:
        ValueError: the model cannot be exported; says why.
    """

    def __init__(self, model: nn.Module, whole: bool = True) -> None:
        super().__init__()
        composed = isinstance(model, LowResDetector)
        self.form = form_of(model.detector if composed else model)
        self.resampler = _resampler(model.resampler) if composed else Identity()
        self.whole = whole

    @property
    def selection(self) -> Selection | None:
        """How candidates become detections; None: it is a classifier."""
        return self.form.selection

    @property
    def outputs(self) -> list[str]:
        """Names of what the graph gives."""
        if self.selection is None:
            return ["scores"]
        if self.whole:
            return ["boxes", "scores", "classes"]
        return [f"{kind}{i}" for i in range(self.form.levels) for kind in ("boxes", "scores")]

    def forward(self, image: Float[Tensor, "C H W"]) -> tuple[Shaped[Tensor, "*_any"], ...]:
        """What is on an image, 0 to 255.

        Returns:
            Of a detector boxes (M, 4) in the image, scores (M,) and classes (M,), best first, or
            boxes and scores of the candidates of each level; of a classifier scores (K,).
        """
        found = self.form(_low_res(self.resampler, image))
        if self.selection is None:
            return (found,)
        if not self.whole:
            return tuple(tensor for level in found for tensor in level)
        return finished(found, self.selection, image.shape[-2:], self.resampler.factor)


def graph_for(model: nn.Module, entry: Format) -> Graph:
    """The graph of a model for a format.

    Args:
        model: in evaluation mode on the CPU.
        entry: the format.

    Raises:
        ValueError: the model cannot be exported to it; says why.
    """
    graph = Graph(model, whole=entry.selects).eval()
    if graph.form.needs_nms and not entry.selects:
        raise ValueError(f"two-stage detectors have NMS inside, and {entry.name} has none")
    return graph


def takes_any_size(graph: Graph, entry: Format) -> bool:
    """Whether a file takes images of any size, not of one alone."""
    return entry.any_size and graph.form.any_size


def finished(
    levels: Sequence[Level], selection: Selection, size: tuple[int, int], factor: Fraction
) -> Found:
    """Detections in the image.

    Args:
        levels: candidates of the network.
        selection: how they become detections.
        size: height and width of the image.
        factor: the resampler's.
    """
    boxes, scores, classes = selection(levels, low_res_size(size, factor))
    boxes = clipped(boxes * float(factor), size)
    inside = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero()[:, 0]
    return boxes[inside], scores[inside], classes[inside]


def _low_res(resampler: Resampler, image: Float[Tensor, "C H W"]) -> Float[Tensor, "C h w"]:
    if isinstance(resampler, Identity):
        return image
    # As LowResDetector: divided, not multiplied by 1/255.
    images = pad_to_factor((image / 255)[None], resampler.factor)
    return resampler.resample(images)[0] * 255


def _resampler(resampler: Any) -> Resampler:
    if isinstance(resampler, AnyFactor):
        resampler = resampler.by_factor[str(resampler.factor)]
    own = type(resampler).forward is not Resampler.forward
    if not isinstance(resampler, Identity) and own:
        raise ValueError(f"resampler {type(resampler).__name__} has a forward that no graph knows")
    return resampler
