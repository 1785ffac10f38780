"""Feature distillation: the student learns the teacher's features at the same image points.

Source: ThumbDet (Pattern Recognition 138, 2023, 109424), Eq. 8; its loss is

    mean over layers, points x and channels of (student(x) - teacher(x))^2

Points are the centres of the teacher's cells inside the images. ``alignment="interpolate"`` resizes
the student's feature map to the teacher's size instead, as papers do; at 4x that misplaces features
by more than one cell of the teacher, and by more still where images are padded.

DFD (ICASSP 2019) compares one vector of features for each image, such as the input of a
classifier's last layer; an image is one point then, and Eq. 1 is the distance ``"euclidean"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lowres_d2.modeling.objectives.features.distances import (
    Points,
    Weights,
    channel_distance,
    correlation_distance,
    euclidean_distance,
    squared_distance,
)
from lowres_d2.modeling.objectives.features.point_weights import foreground_weights
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import FeatureMap, ObjectiveContext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_DISTANCES = {
    "squared": squared_distance,
    "euclidean": euclidean_distance,
    "correlation": correlation_distance,
}


class FeaturePair:
    """Features of the student and the features of the teacher that they learn from.

    Not a dataclass: OmegaConf would turn one in a recipe's list into a configuration of its own.

    Args:
        student: path or tap in the detector; a path means the first call of the module in a
            forward pass.
        student_stride: pixels of the detector's input from one cell to the next; None for one
            vector (N, d) of features of each whole image.
        teacher: path or tap in the teacher; None if it is the student's.
        teacher_stride: pixels of the teacher's input from one cell to the next; None if it is the
            student's.
        student_offset: coordinate of cell 0 in the detector's input: 0.5 for convolutions padded by
            ``k // 2``, half a stride for patch embeddings.
        teacher_offset: coordinate of cell 0 in the teacher's input.
        channels: (student's, teacher's) channels if they differ; a 1x1 convolution then adapts the
            student's features.

    Raises:
        ValueError: a stride or a number of channels is not positive.
    """

    def __init__(
        self,
        student: str | Tap,
        student_stride: int | None = None,
        teacher: str | Tap | None = None,
        teacher_stride: int | None = None,
        student_offset: float = 0.5,
        teacher_offset: float = 0.5,
        channels: tuple[int, int] | None = None,
    ) -> None:
        numbers = {"student_stride": student_stride, "teacher_stride": teacher_stride}
        numbers |= dict(zip(("channels[0]", "channels[1]"), channels or (), strict=False))
        for key, value in numbers.items():
            if value is not None and value <= 0:
                raise ValueError(f"{key}={value}: expected a positive number")
        self.student = _as_tap(student)
        self.teacher = _as_tap(teacher or student)
        self.student_stride = student_stride
        self.teacher_stride = student_stride if teacher_stride is None else teacher_stride
        self.student_offset = student_offset
        self.teacher_offset = teacher_offset
        self.channels = channels


class FeatureDistillation(Objective):
    """Distance between features of student and teacher.

    Args:
        pairs: features to compare, the paper's L layers; each pair gives one loss, named after the
            last part of the student's path.
        alignment: ``"points"`` compares at the same image points, ``"interpolate"`` resizes the
            student's feature map to the teacher's size.
        distance: ``"squared"`` (ThumbDet's), ``"euclidean"`` (DFD's), ``"correlation"`` or
            ``"channel"``; see ``features.distances``.
        foreground_share: share of the loss that comes from objects, equal for each of them; None
            gives all points the same weight.
        reduction: ``"mean"`` over the pairs, as in Eq. 8: each loss is divided by their number;
            ``"sum"`` gives each its full weight.
        name: group of the losses.

    Raises:
        ValueError: a value is unknown, two losses have the same name, ``foreground_share`` is set
            with an alignment or distance that cannot weight points, or vectors of whole images with
            a distance for maps.
    """

    def __init__(
        self,
        pairs: Sequence[FeaturePair],
        alignment: Literal["points", "interpolate"] = "points",
        distance: Literal["squared", "euclidean", "correlation", "channel"] = "squared",
        foreground_share: float | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        name: str = "feature",
    ) -> None:
        super().__init__(name)
        if alignment not in ("points", "interpolate"):
            raise ValueError(f"alignment={alignment!r}: expected 'points' or 'interpolate'")
        if distance not in (*_DISTANCES, "channel"):
            raise ValueError(
                f"distance={distance!r}: expected 'squared', 'euclidean', 'correlation' or "
                "'channel'"
            )
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction={reduction!r}: expected 'mean' or 'sum'")
        weighable = alignment == "points" and distance in _DISTANCES
        if foreground_share is not None and not weighable:
            raise ValueError(
                "foreground_share weights points: it needs alignment='points' and a distance other "
                "than 'channel'"
            )
        if foreground_share is not None and not 0 <= foreground_share <= 1:
            raise ValueError(f"foreground_share={foreground_share}: expected 0 to 1, or None")
        for pair in pairs:
            vectors = pair.student_stride is None
            # Standardised over the points of one image, which is one vector, both would be 0.
            if vectors and distance in ("correlation", "channel"):
                raise ValueError(
                    f"the pair of {pair.student.path} has no stride, so it is of vectors of whole "
                    f"images: distance={distance!r} is for maps; set student_stride, or "
                    "distance='euclidean'"
                )
            if vectors and foreground_share is not None:
                raise ValueError(
                    f"the pair of {pair.student.path} has no stride, so it is of vectors of whole "
                    f"images: foreground_share={foreground_share} is for maps; set student_stride, "
                    "or foreground_share=None"
                )
        self.alignment = alignment
        self.distance = distance
        self.foreground_share = foreground_share
        self.pairs = tuple(pairs)
        self.layers = len(self.pairs) if reduction == "mean" else 1
        self.student_taps = tuple(pair.student for pair in self.pairs)
        self.teacher_taps = tuple(pair.teacher for pair in self.pairs)
        self.loss_names = [_loss_name(tap) for tap in self.student_taps]
        if len(set(self.loss_names)) < len(self.pairs):
            raise ValueError(
                f"objective {name!r}: two of its losses would have the same name, "
                f"{self.loss_names}: put them into two objectives"
            )
        self.adapters = nn.ModuleList(
            nn.Conv2d(*pair.channels, kernel_size=1) if pair.channels else nn.Identity()
            for pair in self.pairs
        )

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """One loss for each pair."""
        losses = {}
        for pair, name, adapter in zip(self.pairs, self.loss_names, self.adapters, strict=True):
            student = context.student_taps[pair.student][0].float()
            teacher = context.teacher_taps[pair.teacher][0].float()
            for features in (student, teacher):
                _check_kind(features, pair)
            vectors = pair.student_stride is None
            if vectors:  # maps of one cell
                student, teacher = student[..., None, None], teacher[..., None, None]
            # Sampling and a 1x1 convolution commute: the adapter comes last if it adds channels.
            ours, theirs = pair.channels or (0, 0)
            late = self.alignment == "points" and ours < theirs and not vectors
            if pair.channels and not late:
                # On a CPU a 1x1 convolution of few channels-last channels takes 5 times as long.
                student = adapter(student.contiguous())
            compared = theirs if late else student.shape[1]
            if (len(student), compared) != teacher.shape[:2]:
                raise ValueError(
                    f"objective {self.name!r}, {pair.student.path}: student features "
                    f"{tuple(student.shape)} and teacher features {tuple(teacher.shape)} differ in "
                    "channels: set the pair's `channels`"
                )
            mix = adapter if late else None
            # Eq. 8 divides by the number of layers L.
            losses[name] = self._distance(student, teacher, pair, context, mix) / self.layers
        return losses

    def _distance(
        self,
        student: Float[Tensor, "N _C _h _w"],
        teacher: Float[Tensor, "N _C _h _w"],
        pair: FeaturePair,
        context: ObjectiveContext,
        mix: nn.Conv2d | None,
    ) -> Float[Tensor, ""]:
        if self.alignment == "interpolate":
            # The paper's own alignment (Sec. 3.4), padding included.
            size = teacher.shape[-2:]
            student = F.interpolate(student, size, mode="bilinear", align_corners=False)
            return self._between(list(zip(student.flatten(2), teacher.flatten(2), strict=True)))
        if pair.student_stride is None:
            # (C, N): images are the points.
            return self._between([(student.flatten(1).T, teacher.flatten(1).T)])
        ours = FeatureMap.of_network(
            student, pair.student_stride, pair.student_offset, context.sizes, context.factor
        )
        theirs = FeatureMap.of_network(
            teacher, pair.teacher_stride, pair.teacher_offset, context.sizes
        )
        if self.distance == "channel":  # its softmax is over one image
            points = [
                (
                    _mixed(ours.sampled_at(theirs, index), mix).flatten(1),
                    theirs.inside(index).flatten(1),
                )
                for index in range(len(student))
            ]
            return self._between(points)
        groups = [(members, _mixed(a, mix), b) for members, a, b in ours.beside(theirs)]
        points = [(a.flatten(1), b.flatten(1)) for _, a, b in groups]  # (C, X) each
        if self.foreground_share is None:
            return self._between(points)
        boxes = [instances.gt_boxes.tensor for instances in context.ground_truth]
        weights = foreground_weights(boxes, theirs, self.foreground_share)
        # In the order of the flattened points: image after image of a group.
        grouped = [torch.cat([weights[k] for k in members]) for members, _, _ in groups]
        return self._between(points, grouped)

    def _between(self, points: Points, weights: Weights | None = None) -> Float[Tensor, ""]:
        if self.distance == "channel":
            return channel_distance(points)
        return _DISTANCES[self.distance](points, weights)


def _check_kind(features: Float[Tensor, "N _C *_cells"], pair: FeaturePair) -> None:
    if features.dim() == (2 if pair.student_stride is None else 4):
        return
    advice = (
        "set student_stride, the pixels from one cell to the next"
        if pair.student_stride is None
        else "leave out student_stride for vectors of whole images"
    )
    raise ValueError(f"{pair.student.path}: features of shape {tuple(features.shape)}: {advice}")


def _mixed(sampled: Float[Tensor, " _C *any"], mix: nn.Conv2d | None) -> Float[Tensor, " _C *any"]:
    """Features after the 1x1 convolution, if there is one."""
    if mix is None:
        return sampled
    # The channels are the first axis here; nn.Conv2d expects them in the second.
    return torch.einsum("oi,i...->o...", mix.weight[..., 0, 0], sampled) + mix.bias.view(
        -1, *(1,) * (sampled.dim() - 1)
    )


def _as_tap(place: str | Tap) -> Tap:
    tap = Tap(place, call=0) if isinstance(place, str) else place
    if tap.call == "all":
        raise ValueError(f"tap {tap.path}: FeaturePair needs one call, such as call=0")
    return tap


def _loss_name(tap: Tap) -> str:
    name = tap.path.rpartition(".")[2]
    if tap.side != "output":
        name = f"{name}_{tap.side}"
    return f"{name}_{tap.call}" if tap.call else name
