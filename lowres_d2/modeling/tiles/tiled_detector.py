"""Any detector on images of any size: it sees overlapping tiles, and their detections are merged.

    image -> tiles -> detector, in batches -> detections in the image's pixels -> merged

It may look at a thumbnail first, and then only at the tiles that need it.

Images are (C, H, W), 0 to 255; boxes XYXY.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lowres_d2.modeling.tiles.choice import TINY, UNSURE, FirstLook, LookedAt, sum_of_tiles
from lowres_d2.modeling.tiles.merging import merge, seam_distances
from lowres_d2.modeling.tiles.parts import ImageParts, Part
from lowres_d2.structures import Size, TileGrid, Window, fit_instances

import torch
from detectron2.structures import Boxes, Instances
from jaxtyping import Bool, Float
from torch import Tensor, nn

_DETECTOR = "detector."
# On a CPU larger batches are no faster, and their memory is taken from the system each time anew.
_PIXELS_ON_CPU = 512 * 512
_MOST_AT_ONCE = 4


class TiledDetector(nn.Module):
    """A detector that sees the tiles of an image; in training it is the detector itself.

    An image that is no larger than a tile is given to the detector as it is. Weights have the
    detector's own names, so that files of it fit.

    Args:
        detector: any meta-architecture with boxes, also a ``LowResDetector``.
        size: of a tile in pixels of the mapper's image, a number or [height, width].
        overlap: of neighbouring tiles, likewise; None: a fifth of the size. Objects up to this
            size are seen as a whole.
        batch_size: number of tiles that the detector gets at once; None: 4, on a CPU fewer of
            more than 256x256 pixels.
        whole_image: whether it also gets the image shrunk to a tile, for objects that are larger
            than the overlap.
        iou_threshold: intersection over union from which boxes of two tiles are one object.
        seam_threshold: as ``iou_threshold`` for boxes that a tile's border may have cut: see
            :func:`lowres_d2.modeling.tiles.merging.merge`.
        seam_margin: distance in pixels from a tile's border up to which it may have cut a box.
        max_detections: the most detections of an image; None: those of all tiles.
        first: whole number by which the image is shrunk to a thumbnail that the detector sees
            first; then it sees the tiles where that leaves something to be found, which ``unsure``
            and ``tiny`` say. None: it sees all tiles.
        unsure: lowest and highest score of the thumbnail's detections whose tiles are looked at;
            [0, 1] are all tiles, None is no tile.
        tiny: square root of the area in pixels of the mapper's image, under which detections of
            higher scores are looked at, too.
    """

    def __init__(
        self,
        detector: nn.Module,
        size: int | Sequence[int] = 640,
        overlap: int | Sequence[int] | None = None,
        batch_size: int | None = None,
        whole_image: bool = False,
        iou_threshold: float = 0.5,
        seam_threshold: float = 0.5,
        seam_margin: float = 2.0,
        max_detections: int | None = None,
        first: int | None = None,
        unsure: Sequence[float] | None = UNSURE,
        tiny: float = TINY,
    ) -> None:
        super().__init__()
        if not isinstance(detector, nn.Module):
            raise ValueError(
                f"tiles: the detector is a {type(detector).__name__}: expected a network "
                "(torch.nn.Module)"
            )
        for name, value in (("iou_threshold", iou_threshold), ("seam_threshold", seam_threshold)):
            if not 0 < value <= 1:
                raise ValueError(f"tiles: {name}={value}: expected a share, over 0 to 1")
        for name, value in (("batch_size", batch_size), ("max_detections", max_detections)):
            if value is not None and value < 1:
                raise ValueError(f"tiles: {name}={value}: expected 1 or more")
        if seam_margin < 0:
            raise ValueError(f"tiles: seam_margin={seam_margin}: expected 0 or more pixels")
        if first is None and (unsure != UNSURE or tiny != TINY):
            raise ValueError("tiles: unsure, tiny: they choose tiles after a first look: set first")
        if first is not None and whole_image:
            raise ValueError(
                f"tiles: whole_image=true, first={first}: both look at the whole image; leave "
                "one of them out"
            )
        self.detector = detector
        self._settings = {
            "size": size,
            "overlap": overlap,
            "batch_size": batch_size,
            "whole_image": whole_image,
            "iou_threshold": iou_threshold,
            "seam_threshold": seam_threshold,
            "seam_margin": seam_margin,
            "max_detections": max_detections,
            "first": first,
            "unsure": unsure,
            "tiny": tiny,
        }
        self.grid = TileGrid(size, overlap)
        self.first_look = None if first is None else FirstLook(first, unsure, tiny)
        self.whole_image = whole_image
        self.iou_threshold, self.seam_threshold = iou_threshold, seam_threshold
        self.seam_margin, self.max_detections = seam_margin, max_detections
        self.register_state_dict_post_hook(_name_as_in_detector)
        self.register_load_state_dict_pre_hook(_name_as_here)
        self.register_load_state_dict_post_hook(_report_as_in_detector)

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Float[Tensor, ""]] | list[dict[str, Any]]:
        """The detector's losses in training; in evaluation the merged detections.

        Args:
            batched_inputs: as Detectron2's detectors take them. In evaluation ``image`` may be a
                :class:`~lowres_d2.structures.WindowedImage`, whose tiles are read as they are
                needed.

        Returns:
            In evaluation ``{"instances": Instances}`` for each image, with highest scores first,
            in the frame of its ``height`` and ``width``; with ``first`` also ``looked_at``, the
            :class:`LookedAt` of an image that is cut.
        """
        if self.training:
            return self.detector(batched_inputs)
        images = [ImageParts(x, self.grid) for x in batched_inputs]
        if self.first_look:
            self._detect_all((image, image.whole(self.first_look.factor)) for image in images)
            for image in images:
                self._choose(image)
        self._detect_all((image, image.tiles()) for image in images)
        if self.whole_image:
            self._detect_all((image, image.whole()) for image in images)
        return [self._merged(image) for image in images]

    @property
    def batch_size(self) -> int:
        """Number of tiles that the detector gets at once."""
        given = self._settings["batch_size"]
        device = next((p.device.type for p in self.detector.parameters()), "cpu")
        if given is not None or device != "cpu":
            return given or _MOST_AT_ONCE
        return min(max(_PIXELS_ON_CPU // math.prod(self.grid.size), 1), _MOST_AT_ONCE)

    def around(self, detector: nn.Module, **changes: Any) -> TiledDetector:
        """Another detector in the same tiles, in the mode that it is in.

        Args:
            detector: the other one.
            changes: arguments that differ.
        """
        tiled = TiledDetector(detector, **self._settings | changes)
        tiled.training = detector.training
        return tiled

    def _detect_all(self, images: Iterable[tuple[ImageParts, Iterator[Part]]]) -> None:
        """Give parts of images to the detector, in batches."""
        waiting: dict[Size, list[tuple[ImageParts, int, dict[str, Any]]]] = defaultdict(list)
        at_once = self.batch_size
        for image, parts in images:
            for index, part in parts:
                # Together only those of one size, so that none gets padding from another one.
                alike = waiting[part["image"].shape[-2:]]
                alike.append((image, index, part))
                if len(alike) == at_once:
                    self._detect(alike)
        for alike in waiting.values():
            self._detect(alike)

    def _choose(self, image: ImageParts) -> None:
        """Leave out the tiles that the thumbnail leaves nothing to be found on."""
        if image.windows:
            found = _instances(image.outputs[len(image.windows)])
            image.looked_at = self.first_look.chosen(
                found.pred_boxes.tensor, found.scores, image.windows, image.size
            )

    def _detect(self, parts: list[tuple[ImageParts, int, dict[str, Any]]]) -> None:
        """Give parts of images to the detector, and its detections to the images."""
        if not parts:
            return
        outputs = self.detector([part for *_, part in parts])
        for (image, index, _), output in zip(parts, outputs, strict=True):
            image.outputs[index] = output
        parts.clear()

    def _merged(self, image: ImageParts) -> dict[str, Any]:
        if not image.windows:
            return image.outputs[0]
        size = image.size
        found, tiles = [], []
        for index, output in sorted(image.outputs.items()):
            instances = _instances(output)
            boxes = instances.pred_boxes.tensor
            if index < len(image.windows):
                x, y = image.windows[index][:2]
                boxes = boxes + boxes.new_tensor([x, y, x, y])
            else:
                left = ~self._shown_better(boxes, image)
                instances, boxes = instances[left], boxes[left]
            fields = instances.get_fields() | {"pred_boxes": Boxes(boxes)}
            found.append(Instances(size, **fields))
            tiles += [index] * len(boxes)
        everything = Instances.cat(found)
        whole = Window(0, 0, size[1], size[0])
        kept, boxes = merge(
            everything.pred_boxes.tensor,
            everything.scores,
            everything.pred_classes,
            torch.tensor(tiles, dtype=torch.long),
            [*image.windows, whole],
            size,
            self.iou_threshold,
            self.seam_threshold,
            self.seam_margin,
        )
        merged = everything[kept]
        merged.pred_boxes = Boxes(boxes)
        merged = merged[: self.max_detections] if self.max_detections else merged
        output = {"instances": fit_instances(merged, size, image.wanted)}
        if self.first_look:
            output["looked_at"] = LookedAt(len(image.looked_at), len(image.windows))
        return output

    def _shown_better(self, boxes: Float[Tensor, "M 4"], image: ImageParts) -> Bool[Tensor, " M"]:
        """Which boxes of the shrunk image fit into the overlap and are whole on a tile."""
        room = [max(side - 2 * self.seam_margin, 0) for side in self.grid.overlap[::-1]]
        fit = ((boxes[:, 2:] - boxes[:, :2]) <= boxes.new_tensor(room)).all(dim=1)
        if len(image.looked_at) == len(image.windows):
            return fit  # into the overlap, so into a tile
        places = boxes.new_tensor([image.windows[k] for k in image.looked_at]).reshape(-1, 4)
        distances = seam_distances(boxes[:, None], places[None], image.size)
        return fit & (distances >= self.seam_margin).any(dim=1)


def _instances(output: dict[str, Any]) -> Instances:
    if "instances" not in output:
        raise ValueError(
            f"tiles are for detectors with boxes, and this one gives {', '.join(output)}: "
            "leave tiles out"
        )
    return output["instances"]


@contextmanager
def counting_tiles(model: nn.Module) -> Iterator[Callable[[], LookedAt]]:
    """Count the tiles that a model looks at while the block runs.

    Yields:
        Function that returns the count so far; of a model that looks at no thumbnail first, or at
        images that are not cut, both numbers are 0.
    """
    counts: list[LookedAt] = []

    def count(module: nn.Module, inputs: Any, outputs: Any) -> None:
        if isinstance(module, TiledDetector) and not module.training:
            counts.extend(output["looked_at"] for output in outputs if "looked_at" in output)

    handle = model.register_forward_hook(count)
    try:
        yield lambda: sum_of_tiles(counts)
    finally:
        handle.remove()


def untiled(model: nn.Module) -> nn.Module:
    """The detector of a ``TiledDetector``; another model itself."""
    return model.detector if isinstance(model, TiledDetector) else model


def _name_as_in_detector(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    _rename(state, prefix + _DETECTOR, prefix)


def _name_as_here(module: nn.Module, state: dict[str, Any], prefix: str, *more: Any) -> None:
    _rename(state, prefix, prefix + _DETECTOR)


def _rename(state: dict[str, Any], old: str, new: str) -> None:
    # All are taken out first: a composition in the tiles has names that begin with ours.
    taken = {name: state.pop(name) for name in list(state) if name.startswith(old)}
    state.update({new + name.removeprefix(old): value for name, value in taken.items()})


def _report_as_in_detector(module: nn.Module, incompatible: Any) -> None:
    for names in incompatible:
        names[:] = [name.replace(_DETECTOR, "", 1) for name in names]
