"""Deformable DETR (Zhu et al. 2021, arXiv 2010.04159) as a Detectron2 meta-architecture.

Inside, boxes are (centre x, centre y, width, height), relative to the unpadded image; in inputs and
outputs they are XYXY in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lowres_d2.modeling.deformable_detr.decoder import Decoder
from lowres_d2.modeling.deformable_detr.encoder import Encoder
from lowres_d2.modeling.deformable_detr.geometry import PyramidGeometry
from lowres_d2.modeling.deformable_detr.heads import BoxHead, class_head
from lowres_d2.modeling.deformable_detr.neck import LevelProjection
from lowres_d2.modeling.deformable_detr.proposals import LearnedQueries, TwoStageQueries
from lowres_d2.modeling.deformable_detr.set_prediction import Outputs, Target

import torch
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert


class DeformableDETR(nn.Module):
    """Set prediction with queries, each of which attends to a few points of a feature pyramid.

    Modules for taps, each called once in a forward pass: ``pred_logits`` outputs the last decoder
    layer's class logits (N, Q, K), ``pred_boxes`` its boxes (N, Q, 4), ``encoder`` the encoded
    cells (N, S, C); the backbone's feature maps are at ``backbone.res3`` and so on.

    Args:
        backbone: network whose feature maps are used.
        in_features: names of these feature maps, finest first; coarser levels are computed from
            the last one.
        num_classes: number of classes K.
        criterion: computes weighted losses by name from outputs and targets, see ``SetCriterion``.
        pixel_mean: mean that is subtracted from each channel of an image.
        pixel_std: standard deviation by which each channel is divided.
        num_queries: number of queries Q.
        channels: channels C of encoder and decoder.
        num_heads: heads of every attention.
        num_levels: number of levels L.
        num_points: points that each head of a query samples in each level.
        feedforward: channels inside the feed-forward blocks.
        encoder_layers: number of encoder layers.
        decoder_layers: number of decoder layers.
        dropout: probability in training.
        norm: normalisation of the projected feature maps.
        aux_loss: whether all decoder layers are trained to predict, not only the last.
        with_box_refine: whether each decoder layer refines the boxes of the layer before; heads are
            then not shared.
        two_stage: whether queries are initialised from the encoder's best cells.
        test_topk: number of detections per image.
    """

    def __init__(
        self,
        backbone: Backbone,
        in_features: Sequence[str],
        num_classes: int,
        criterion: nn.Module,
        *,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        num_queries: int = 300,
        channels: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        feedforward: int = 1024,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        dropout: float = 0.1,
        norm: str | Callable[[int], nn.Module] = "GN",
        aux_loss: bool = True,
        with_box_refine: bool = False,
        two_stage: bool = False,
        test_topk: int = 100,
    ) -> None:
        super().__init__()
        self.aux_loss = aux_loss
        self.with_box_refine = with_box_refine
        self.test_topk = test_topk
        self.backbone = backbone
        self.neck = LevelProjection(
            backbone.output_shape(), in_features, channels, num_levels, norm
        )
        self.level_embed = nn.Parameter(torch.randn(num_levels, channels))
        layer = dict(
            channels=channels,
            num_heads=num_heads,
            num_levels=num_levels,
            num_points=num_points,
            feedforward=feedforward,
            dropout=dropout,
        )
        self.encoder = Encoder(encoder_layers, **layer)
        self.decoder = Decoder(decoder_layers, **layer)
        heads = decoder_layers if with_box_refine else 1
        self.class_heads = nn.ModuleList(class_head(channels, num_classes) for _ in range(heads))
        # Without proposals, widths and heights start at a tenth of the image: sigmoid(-2) = 0.12.
        self.box_heads = nn.ModuleList(
            BoxHead(channels, 0.0 if two_stage or index else -2.0) for index in range(heads)
        )
        self.queries = (
            TwoStageQueries(num_queries, channels, num_classes)
            if two_stage
            else LearnedQueries(num_queries, channels)
        )
        # Places for taps: the heads themselves run once per decoder layer.
        self.pred_logits = nn.Identity()
        self.pred_boxes = nn.Identity()
        self.criterion = criterion
        # Not in the state dict, as in Detectron2's models.
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.pixel_mean.device

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Float[Tensor, ""]] | list[dict[str, Instances]]:
        """Losses in training, detections in evaluation.

        Args:
            batched_inputs: a dict for each image: ``image`` (C, H, W), 0 to 255; ``instances``
                with ``gt_boxes`` and ``gt_classes`` in training; ``height`` and ``width`` of the
                frame that detections are scaled to, by default the image's.

        Returns:
            In training weighted losses by name. In evaluation ``instances`` of each image, with
            ``pred_boxes``, ``scores`` and ``pred_classes``, best first.
        """
        images = self.preprocess_image(batched_inputs)
        outputs = self.predict(images)
        if self.training:
            return self.criterion(outputs, self.targets(batched_inputs))
        detections = self.inference(outputs, images.image_sizes)
        return [
            {
                "instances": detector_postprocess(
                    found, wish.get("height", size[0]), wish.get("width", size[1])
                )
            }
            for found, wish, size in zip(
                detections, batched_inputs, images.image_sizes, strict=True
            )
        ]

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        """Images on the model's device, normalised and padded to a batch."""
        return ImageList.from_tensors(
            [
                (x["image"].to(self.device) - self.pixel_mean) / self.pixel_std
                for x in batched_inputs
            ],
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )

    def predict(self, images: ImageList) -> Outputs:
        """The network's predictions for a batch.

        Returns:
            Predictions of the last decoder layer. In training also ``aux_outputs`` (with
            ``aux_loss``) and ``enc_outputs`` (with ``two_stage``).
        """
        levels = self.neck(self.backbone(images.tensor))
        geometry = PyramidGeometry.of(levels, images.tensor.shape[-2:], images.image_sizes)
        # (N, S, C)
        cells = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        channels = cells.shape[-1]
        # (N or 1, S, C); the learned embedding tells equal positions of several levels apart.
        position = torch.cat(
            [
                features + embedding
                for features, embedding in zip(
                    geometry.position_features(channels), self.level_embed, strict=True
                )
            ],
            1,
        )
        memory = self.encoder(cells, position, geometry)
        queries = self.queries(memory, geometry)
        states = self.decoder(
            queries.content,
            queries.position,
            queries.reference,
            memory,
            geometry,
            self.box_heads if self.with_box_refine else (),
        )
        *earlier, last = range(len(states))
        outputs: Outputs = self._outputs(last, *states[last])
        outputs["pred_logits"] = self.pred_logits(outputs["pred_logits"])
        outputs["pred_boxes"] = self.pred_boxes(outputs["pred_boxes"])
        if self.training and self.aux_loss:
            outputs["aux_outputs"] = [self._outputs(i, *states[i]) for i in earlier]
        if self.training and queries.proposals is not None:
            outputs["enc_outputs"] = queries.proposals
        return outputs

    def _outputs(
        self, index: int, queries: Float[Tensor, "N Q C"], box: Float[Tensor, "N Q _"]
    ) -> Outputs:
        """Predictions of a decoder layer from its queries, and its boxes or reference points."""
        if self.with_box_refine:
            return {"pred_logits": self.class_heads[index](queries), "pred_boxes": box}
        boxes = self.box_heads[0](queries, box)
        return {"pred_logits": self.class_heads[0](queries), "pred_boxes": boxes}

    def targets(self, batched_inputs: list[dict[str, Any]]) -> list[Target]:
        """Ground truth of each image."""
        if "instances" not in batched_inputs[0]:
            raise KeyError("training needs 'instances' (ground truth) in every input")
        targets = []
        for x in batched_inputs:
            instances = x["instances"].to(self.device)
            height, width = instances.image_size
            boxes = box_convert(instances.gt_boxes.tensor, "xyxy", "cxcywh")
            boxes = boxes / boxes.new_tensor([width, height, width, height])
            targets.append({"labels": instances.gt_classes, "boxes": boxes})
        return targets

    def inference(
        self, outputs: Outputs, image_sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        """The best pairs of query and class, with boxes in pixels of the model's input images."""
        num_classes = outputs["pred_logits"].shape[-1]
        # (N, Q * K): classes are independent, so that a query may be detected as several.
        scores = outputs["pred_logits"].sigmoid().flatten(1)
        scores, pairs = scores.topk(min(self.test_topk, scores.shape[1]))
        results = []
        for image, (height, width) in enumerate(image_sizes):
            query = pairs[image] // num_classes
            boxes = box_convert(outputs["pred_boxes"][image, query], "cxcywh", "xyxy")
            scale = boxes.new_tensor([width, height, width, height])
            results.append(
                Instances(
                    (height, width),
                    pred_boxes=Boxes(boxes * scale),
                    scores=scores[image],
                    pred_classes=pairs[image] % num_classes,
                )
            )
        return results
