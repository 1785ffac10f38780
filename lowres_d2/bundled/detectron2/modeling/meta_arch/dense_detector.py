"""What one-stage detectors share: images in, a prediction at every cell, detections out.

Shapes: N images; a level has H x W cells of A anchors; K classes; R = H * W * A, summed over
levels where a tensor holds all of them. Boxes are XYXY in pixels of the image as the model gets
it; only the returned detections are in the size that the input asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from detectron2.layers import batched_nms, cat, move_device_like
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn


def permute_to_N_HWA_K(tensor: Tensor, K: int) -> Tensor:
    """Turn (N, A * K, H, W) into (N, H * W * A, K), the order of the anchors."""
    assert tensor.dim() == 4, tensor.shape
    return tensor.permute(0, 2, 3, 1).reshape(tensor.shape[0], -1, K)


class DenseDetector(nn.Module):
    """Base of one-stage detectors.

    Subclasses implement `forward_training` and `forward_inference`. Decoding needs them to have a
    `box2box_transform`, `test_score_thresh`, `test_topk_candidates`, `test_nms_thresh` and
    `max_detections_per_image`.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        head_in_features: Sequence[str] | None = None,
        *,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ):
        """
        Args:
            backbone: gives the levels of features.
            head: maps a list of levels to lists of predictions, one list for each kind.
            head_in_features: the levels that the head gets; by default all, by stride.
            pixel_mean: subtracted from each channel of an image.
            pixel_std: divides each channel.
        """
        super().__init__()
        self.backbone = backbone
        self.head = head
        if head_in_features is None:
            shapes = backbone.output_shape()
            head_in_features = sorted(shapes, key=lambda name: shapes[name].stride)
        self.head_in_features = head_in_features
        self._kept_anchors: tuple[Any, list[Boxes]] | None = None
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.pixel_mean.device

    def _move_to_current_device(self, x: Tensor) -> Tensor:
        return move_device_like(x, self.pixel_mean)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Compute losses in training, detections otherwise.

        Args:
            batched_inputs: one dict per image, with

                * `image`: (C, H, W), in the model's channel order, 0 to 255;
                * `instances` (training): `Instances` with `gt_boxes` and `gt_classes`;
                * `height`, `width` (inference): size that the detections are wanted in; by default
                  that of `image`.

        Returns:
            In training, the losses by name. Otherwise a list of `{"instances": Instances}` with
            `pred_boxes`, `scores` and `pred_classes`.
        """
        images = self.preprocess_image(batched_inputs)
        maps = self.backbone(images.tensor)
        features = [maps[name] for name in self.head_in_features]
        predictions = self.head(features)
        if self.training:
            if "instances" not in batched_inputs[0]:
                raise KeyError("training needs 'instances' (ground truth) in every input")
            gt_instances = [x["instances"].to(self.device) for x in batched_inputs]
            return self.forward_training(images, features, predictions, gt_instances)
        results = self.forward_inference(images, features, predictions)
        return [
            {
                "instances": detector_postprocess(
                    result, wish.get("height", size[0]), wish.get("width", size[1])
                )
            }
            for result, wish, size in zip(results, batched_inputs, images.image_sizes, strict=True)
        ]

    def forward_training(
        self,
        images: ImageList,
        features: list[Tensor],
        predictions: Sequence[list[Tensor]],
        gt_instances: list[Instances],
    ) -> dict[str, Tensor]:
        """Losses by name; for subclasses to implement."""
        raise NotImplementedError(f"{type(self).__name__} has no forward_training")

    def forward_inference(
        self, images: ImageList, features: list[Tensor], predictions: Sequence[list[Tensor]]
    ) -> list[Instances]:
        """Detections of each image, in its pixels; for subclasses to implement."""
        raise NotImplementedError(f"{type(self).__name__} has no forward_inference")

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        """Move the images to the model's device, normalize them, and pad them into a batch."""
        images = [
            (self._move_to_current_device(x["image"]) - self.pixel_mean) / self.pixel_std
            for x in batched_inputs
        ]
        return ImageList.from_tensors(
            images,
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )

    def _transpose_dense_predictions(
        self, predictions: Sequence[list[Tensor]], dims_per_anchor: Sequence[int]
    ) -> list[list[Tensor]]:
        """Bring each kind of prediction, at each level, to (N, H * W * A, dims of that kind)."""
        assert len(predictions) == len(dims_per_anchor), (
            "one number of dims for each kind of prediction"
        )
        return [
            [permute_to_N_HWA_K(level, dims) for level in levels]
            for levels, dims in zip(predictions, dims_per_anchor, strict=True)
        ]

    def _anchors(self, features: list[Tensor]) -> list[Boxes]:
        """The anchors of each level; the last ones are kept for images of the same size.

        Args:
            features: the levels, of which only sizes and device matter.
        """
        # Another generator may look into the features, or draw.
        plain = type(self.anchor_generator) is DefaultAnchorGenerator
        if not plain or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return self.anchor_generator(features)
        key = [(level.shape[-2:], level.device) for level in features]
        key += self.anchor_generator.strides
        key += map(id, self.anchor_generator.cell_anchors)
        if self._kept_anchors is None or self._kept_anchors[0] != key:
            # They outlive the call: made in inference mode, training could not use them.
            with torch.inference_mode(False):
                self._kept_anchors = key, self.anchor_generator(features)
        return self._kept_anchors[1]

    def _ema_update(
        self, name: str, value: float, initial_value: float, momentum: float = 0.9
    ) -> float:
        """Move the running average in attribute `name` towards `value`, and return it."""
        average = getattr(self, name, initial_value) * momentum + value * (1 - momentum)
        setattr(self, name, average)
        return average

    def _update_normalizer(self, pos_mask: Tensor, initial_value: float) -> float:
        """Running average of the batch's positive anchors, by which every loss is divided.

        Args:
            pos_mask: bool (N, R).
            initial_value: average before the first batch.
        """
        num_positive = pos_mask.sum().item()
        if has_event_storage():
            get_event_storage().put_scalar("num_pos_anchors", num_positive / len(pos_mask))
        return self._ema_update("loss_normalizer", max(num_positive, 1), initial_value)

    def _decode_per_level_predictions(
        self,
        anchors: Boxes,
        pred_scores: Tensor,
        pred_deltas: Tensor,
        score_thresh: float,
        topk_candidates: int,
        image_size: tuple[int, int],
    ) -> Instances:
        """As `_decode_multi_level_predictions`, of one level."""
        level = anchors, pred_scores, pred_deltas
        return self._decode_together([level], score_thresh, topk_candidates, image_size)

    def _decode_multi_level_predictions(
        self,
        anchors: list[Boxes],
        pred_scores: list[Tensor],
        pred_deltas: list[Tensor],
        score_thresh: float,
        topk_candidates: int,
        image_size: tuple[int, int],
    ) -> Instances:
        """The best candidates of each level of one image, one level after the other.

        Args:
            anchors: R of them for each level.
            pred_scores: (R, K) for each level, after the sigmoid.
            pred_deltas: (R, 4) for each level.
            score_thresh: candidates score above this.
            topk_candidates: number per level, at most, best first.
            image_size: size of the image.
        """
        levels = zip(anchors, pred_scores, pred_deltas, strict=True)
        settings = score_thresh, topk_candidates, image_size
        of_level = type(self)._decode_per_level_predictions
        if of_level is DenseDetector._decode_per_level_predictions:
            return self._decode_together(levels, *settings)
        return Instances.cat([of_level(self, *level, *settings) for level in levels])

    def _decode_together(
        self,
        levels: Iterable[tuple[Boxes, Tensor, Tensor]],
        score_thresh: float,
        topk_candidates: int,
        image_size: tuple[int, int],
    ) -> Instances:
        scores, classes, deltas, places = [], [], [], []
        for anchors, level_scores, level_deltas in levels:
            num_classes = level_scores.shape[1]
            flat = level_scores.flatten()
            above = (flat > score_thresh).nonzero()[:, 0]
            best, order = flat[above].topk(min(topk_candidates, len(above)))
            candidates = above[order]
            anchor = candidates.div(num_classes, rounding_mode="floor")
            scores.append(best)
            classes.append(candidates % num_classes)
            deltas.append(level_deltas[anchor])
            places.append(anchors.tensor[anchor])
        # Boxes of all levels at once: small images take less time for arithmetic than for calls.
        boxes = self.box2box_transform.apply_deltas(cat(deltas), cat(places))
        return Instances(
            image_size, pred_boxes=Boxes(boxes), scores=cat(scores), pred_classes=cat(classes)
        )

    def inference_single_image(
        self,
        anchors: list[Boxes],
        box_cls: list[Tensor],
        box_delta: list[Tensor],
        image_size: tuple[int, int],
    ) -> Instances:
        """Decode one image's predictions, and thin them by NMS within each class.

        Args:
            anchors: the anchors of each level.
            box_cls: scores (anchors of the level, K) for each level.
            box_delta: (anchors of the level, 4) for each level.
            image_size: size of the image.
        """
        found = self._decode_multi_level_predictions(
            anchors,
            box_cls,
            box_delta,
            self.test_score_thresh,
            self.test_topk_candidates,
            image_size,
        )
        keep = batched_nms(
            found.pred_boxes.tensor, found.scores, found.pred_classes, self.test_nms_thresh
        )
        return found[keep[: self.max_detections_per_image]]

    def visualize_training(
        self, batched_inputs: list[dict[str, Any]], results: list[Instances]
    ) -> None:
        """Put the first image's ground truth, above its best 20 detections, into the storage.

        Args:
            batched_inputs: as `forward` gets them, with ground truth.
            results: detections, as `forward_inference` gives them.
        """
        from detectron2.data.detection_utils import convert_image_to_rgb
        from detectron2.utils.visualizer import Visualizer

        assert len(batched_inputs) == len(results), "one result for each input"
        best = 20
        image = convert_image_to_rgb(batched_inputs[0]["image"].permute(1, 2, 0), self.input_format)
        found = detector_postprocess(results[0], *image.shape[:2]).pred_boxes.tensor[:best]
        drawn = [
            Visualizer(image).overlay_instances(boxes=boxes).get_image()
            for boxes in (batched_inputs[0]["instances"].gt_boxes, found.detach().cpu().numpy())
        ]
        panels = torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1])
        get_event_storage().put_image(
            f"ground truth above, best {best} detections below", torch.cat(panels).permute(2, 0, 1)
        )
