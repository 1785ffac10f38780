"""Any detector on images of any size: it sees overlapping tiles, and their detections are merged.

    image -> tiles -> detector, in batches -> detections in the image's pixels -> merged

Images are (C, H, W), 0 to 255; boxes XYXY.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lowres_d2.modeling.tiles.merging import merge
from lowres_d2.modeling.tiles.shrunk import shrunk
from lowres_d2.structures import Size, TileGrid, Window, WindowedImage, fit_instances

import torch
from detectron2.structures import Boxes, Instances
from jaxtyping import Float
from torch import Tensor, nn

_DETECTOR = "detector."
_OF_THE_FRAME = ("image", "height", "width", "instances")


class TiledDetector(nn.Module):
    """A detector that sees the tiles of an image; in training it is the detector itself.

    An image that is no larger than a tile is given to the detector as it is. Weights have the
    detector's own names, so that files of it fit.

    Args:
        detector: any meta-architecture with boxes, also a ``LowResDetector``.
        size: of a tile in pixels of the mapper's image, a number or [height, width].
        overlap: of neighbouring tiles, likewise; None: a fifth of the size. Objects up to this
            size are seen as a whole.
        batch_size: number of tiles that the detector gets at once.
        whole_image: whether it also gets the image shrunk to a tile, for objects that are larger
            than the overlap.
        iou_threshold: intersection over union from which boxes of two tiles are one object.
        seam_threshold: as ``iou_threshold`` for boxes that a tile's border may have cut: see
            :func:`lowres_d2.modeling.tiles.merging.merge`.
        seam_margin: distance in pixels from a tile's border up to which it may have cut a box.
        max_detections: the most detections of an image; None: those of all tiles.
    """

    def __init__(
        self,
        detector: nn.Module,
        size: int | Sequence[int] = 640,
        overlap: int | Sequence[int] | None = None,
        batch_size: int = 4,
        whole_image: bool = False,
        iou_threshold: float = 0.5,
        seam_threshold: float = 0.5,
        seam_margin: float = 2.0,
        max_detections: int | None = None,
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
        }
        self.grid = TileGrid(size, overlap)
        self.batch_size, self.whole_image = batch_size, whole_image
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
            in the frame of its ``height`` and ``width``.
        """
        if self.training:
            return self.detector(batched_inputs)
        images = [_Image(x, self.grid) for x in batched_inputs]
        waiting: dict[Size, list[tuple[_Image, int, dict[str, Any]]]] = defaultdict(list)
        for image in images:
            for index, part in enumerate(image.parts(self.whole_image)):
                # Together only those of one size, so that none gets padding from another one.
                alike = waiting[part["image"].shape[-2:]]
                alike.append((image, index, part))
                if len(alike) == self.batch_size:
                    self._detect(alike)
        for alike in waiting.values():
            self._detect(alike)
        return [self._merged(image) for image in images]

    def around(self, detector: nn.Module) -> TiledDetector:
        """Another detector in the same tiles, in the mode that it is in."""
        tiled = TiledDetector(detector, **self._settings)
        tiled.training = detector.training
        return tiled

    def _detect(self, parts: list[tuple[_Image, int, dict[str, Any]]]) -> None:
        """Give parts of images to the detector, and its detections to the images."""
        if not parts:
            return
        outputs = self.detector([part for *_, part in parts])
        for (image, index, _), output in zip(parts, outputs, strict=True):
            image.outputs[index] = output
        parts.clear()

    def _merged(self, image: _Image) -> dict[str, Any]:
        if not image.windows:
            return image.outputs[0]
        size = image.size
        found, tiles = [], []
        for index, output in sorted(image.outputs.items()):
            if "instances" not in output:
                raise ValueError(
                    f"tiles are for detectors with boxes, and this one gives {', '.join(output)}: "
                    "leave tiles out"
                )
            instances = output["instances"]
            boxes = instances.pred_boxes.tensor
            if index < len(image.windows):
                x, y = image.windows[index][:2]
                boxes = boxes + boxes.new_tensor([x, y, x, y])
            else:
                # Those that fit into the overlap are whole on a tile, which shows them better.
                room = [max(side - 2 * self.seam_margin, 0) for side in self.grid.overlap[::-1]]
                large = ((boxes[:, 2:] - boxes[:, :2]) > boxes.new_tensor(room)).any(dim=1)
                instances, boxes = instances[large], boxes[large]
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
        return {"instances": fit_instances(merged, size, image.wanted)}


@dataclass
class _Image:
    """An image, and what was found on its parts.

    Attributes:
        given: input of the detector.
        grid: how it is cut.
        windows: its tiles; none if it is not cut.
        outputs: of the detector, by the index of the part; behind the tiles the whole image's.
    """

    given: dict[str, Any]
    grid: TileGrid
    windows: list[Window] = field(init=False)
    outputs: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one = self.grid.has_one_tile(self.size)
        self.windows = [] if one else self.grid.windows(self.size)

    @property
    def image(self) -> WindowedImage:
        return self.given["image"]

    @property
    def size(self) -> Size:
        height, width = self.image.shape[-2:]
        return height, width

    @property
    def wanted(self) -> Size:
        """Size of the frame that detections are wanted in."""
        return self.given.get("height", self.size[0]), self.given.get("width", self.size[1])

    def parts(self, whole: bool) -> Iterator[dict[str, Any]]:
        """Inputs of the detector: tiles, then the shrunk image where it is asked for."""
        if not self.windows:
            image = self.image
            read = (
                image if isinstance(image, Tensor) else image[:, 0 : self.size[0], 0 : self.size[1]]
            )
            yield self.given | {"image": read}
            return
        more = {key: value for key, value in self.given.items() if key not in _OF_THE_FRAME}
        for key, value in more.items():
            if isinstance(value, Instances) or (isinstance(value, Tensor) and value.dim() > 1):
                raise ValueError(
                    f"input '{key}' may have the image's coordinates and cannot be cut into tiles: "
                    "remove it in the mapper"
                )
        for window in self.windows:
            tile = self.image[:, window.y0 : window.y1, window.x0 : window.x1]
            height, width = window.size
            yield more | {"image": tile, "height": height, "width": width}
        if whole:
            small, (height, width) = shrunk(self.image, self.grid.size)
            yield more | {"image": small, "height": height, "width": width}


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
