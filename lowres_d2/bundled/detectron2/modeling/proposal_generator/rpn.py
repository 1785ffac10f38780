"""Region proposal network: Ren et al., Faster R-CNN, arXiv:1506.01497, sections 3.1 and 3.2.

Shapes: N images, L feature levels, A anchors a cell, B box parameters (4), H x W cells of a
level, A_l = H W A anchors of level l, S their sum over levels. Anchors and boxes are XYXY in pixels
of the batched image; labels are 1 (object), 0 (background) and -1 (ignored).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2._uncovered import uncovered
from detectron2.layers import Conv2d, cat
from detectron2.modeling.box_regression import Box2BoxTransform, _dense_box_regression_loss
from detectron2.modeling.matcher import Matcher, match_boxes
from detectron2.modeling.proposal_generator.build import PROPOSAL_GENERATOR_REGISTRY
from detectron2.modeling.proposal_generator.proposal_utils import (
    find_top_rpn_proposals,
    suppress_proposals,
    top_anchors,
)
from detectron2.modeling.sampling import subsample_labels
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage, has_event_storage
from detectron2.utils.registry import Registry
from torch import Tensor, nn

RPN_HEAD_REGISTRY = Registry("RPN_HEAD")
build_rpn_head = uncovered("build_rpn_head")  # builds from yacs configs


@RPN_HEAD_REGISTRY.register()
class StandardRPNHead(nn.Module):
    """Shared 3x3 convolution(s), then 1x1 convolutions for objectness and for box deltas.

    Args:
        in_channels: channels of every input level.
        num_anchors: A.
        box_dim: B.
        conv_dims: output channels of each 3x3 convolution; -1 keeps the number of channels.
    """

    from_config = uncovered("StandardRPNHead.from_config")

    def __init__(
        self,
        *,
        in_channels: int,
        num_anchors: int,
        box_dim: int = 4,
        conv_dims: list[int] | tuple[int, ...] = (-1,),
    ) -> None:
        super().__init__()
        channels = in_channels
        hidden = []
        for index, width in enumerate(conv_dims):
            width = channels if width == -1 else width
            if width <= 0:
                raise ValueError(f"conv_dims[{index}] is {width}: expected -1 or at least 1")
            hidden.append(self._get_rpn_conv(channels, width))
            channels = width
        if len(hidden) == 1:
            self.conv = hidden[0]
        else:
            self.conv = nn.Sequential()
            for index, layer in enumerate(hidden):
                self.conv.add_module(f"conv{index}", layer)
        self.objectness_logits = nn.Conv2d(channels, num_anchors, kernel_size=1)
        self.anchor_deltas = nn.Conv2d(channels, num_anchors * box_dim, kernel_size=1)

        for layer in (*hidden, self.objectness_logits, self.anchor_deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def _get_rpn_conv(self, in_channels: int, out_channels: int) -> nn.Module:
        return Conv2d(in_channels, out_channels, kernel_size=3, padding=1, activation=nn.ReLU())

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Predict on each level with the same weights.

        Args:
            features: L feature maps (N, C, H, W).

        Returns:
            L objectness maps (N, A, H, W) and L delta maps (N, A B, H, W).
        """
        hidden = [self.conv(feature) for feature in features]
        return [self.objectness_logits(x) for x in hidden], [self.anchor_deltas(x) for x in hidden]


@PROPOSAL_GENERATOR_REGISTRY.register()
class RPN(nn.Module):
    """Scores anchors, learns which of them are objects, and proposes the best boxes.

    Args:
        in_features: names of the feature maps to use.
        head: from feature maps to objectness and deltas, like `StandardRPNHead`.
        anchor_generator: from feature maps to one ``Boxes`` per level.
        anchor_matcher: from the IoU matrix to matches and labels.
        box2box_transform: encodes boxes relative to anchors.
        batch_size_per_image: anchors sampled in each image for the losses.
        positive_fraction: largest share of objects among them.
        pre_nms_topk: boxes per level before suppression, (in training, in evaluation).
        post_nms_topk: boxes per image after suppression, (in training, in evaluation).
        nms_thresh: IoU threshold of the suppression.
        min_box_size: shortest side that a proposal must exceed, in pixels.
        anchor_boundary_thresh: anchors reaching further outside the image are ignored in
            training; negative to use all.
        loss_weight: one factor for both losses, or one for each by name.
        box_reg_loss_type: ``smooth_l1``, ``giou``, ``diou`` or ``ciou``.
        smooth_l1_beta: where smooth L1 turns from quadratic to linear; 0 is L1.
    """

    from_config = uncovered("RPN.from_config")

    def __init__(
        self,
        *,
        in_features: list[str],
        head: nn.Module,
        anchor_generator: nn.Module,
        anchor_matcher: Matcher,
        box2box_transform: Box2BoxTransform,
        batch_size_per_image: int,
        positive_fraction: float,
        pre_nms_topk: tuple[float, float],
        post_nms_topk: tuple[float, float],
        nms_thresh: float = 0.7,
        min_box_size: float = 0.0,
        anchor_boundary_thresh: float = -1.0,
        loss_weight: float | dict[str, float] = 1.0,
        box_reg_loss_type: str = "smooth_l1",
        smooth_l1_beta: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.rpn_head = head
        self.anchor_generator = anchor_generator
        self.anchor_matcher = anchor_matcher
        self.box2box_transform = box2box_transform
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        # Looked up by `self.training`.
        self.pre_nms_topk = dict(zip((True, False), pre_nms_topk, strict=True))
        self.post_nms_topk = dict(zip((True, False), post_nms_topk, strict=True))
        self.nms_thresh = nms_thresh
        self.min_box_size = float(min_box_size)
        self.anchor_boundary_thresh = anchor_boundary_thresh
        if not isinstance(loss_weight, dict):
            loss_weight = {"loss_rpn_cls": loss_weight, "loss_rpn_loc": loss_weight}
        self.loss_weight = loss_weight
        self.box_reg_loss_type = box_reg_loss_type
        self.smooth_l1_beta = smooth_l1_beta

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        gt_instances: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Propose boxes, and in training compare the anchors with the ground truth.

        Args:
            images: the N padded images; only their sizes are used.
            features: feature maps by name, those of ``in_features`` at least.
            gt_instances: N targets with ``gt_boxes``; needed in training.

        Returns:
            N proposals (``proposal_boxes``, ``objectness_logits``), and in training the losses
            ``loss_rpn_cls`` and ``loss_rpn_loc``, else an empty dict.
        """
        maps = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(maps)
        objectness, deltas = self.rpn_head(maps)
        box_dim = self.anchor_generator.box_dim
        # Anchors vary fastest, as the anchor generator lays them out: (N, A, H, W) -> (N, A_l).
        objectness = [score.permute(0, 2, 3, 1).flatten(1) for score in objectness]
        deltas = [
            delta.unflatten(1, (-1, box_dim)).permute(0, 3, 4, 1, 2).flatten(1, -2)
            for delta in deltas
        ]

        losses: dict[str, Tensor] = {}
        if self.training:
            assert gt_instances is not None, "the region proposal network trains on targets"
            gt_labels, gt_boxes = self.label_and_sample_anchors(anchors, gt_instances)
            losses = self.losses(anchors, objectness, gt_labels, deltas, gt_boxes)
        return self.predict_proposals(anchors, objectness, deltas, images.image_sizes), losses

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Label the anchors of each image and keep a random, balanced part of the labels.

        Args:
            anchors: L levels of anchors, the same for all images.
            gt_instances: N targets with ``gt_boxes``.

        Returns:
            N labels (S,) of which all but the sampled are -1, and N boxes (S, 4), the match of
            each anchor (meaningful where the label is 1).
        """
        all_anchors = Boxes.cat(anchors)
        labels, boxes = [], []
        for target in gt_instances:
            gt_boxes = target.gt_boxes
            matches, label = match_boxes(self.anchor_matcher, gt_boxes, all_anchors)
            label = label.to(device=gt_boxes.device)
            if self.anchor_boundary_thresh >= 0:
                inside = all_anchors.inside_box(target.image_size, self.anchor_boundary_thresh)
                label[~inside] = -1
            labels.append(self._subsample_labels(label))
            boxes.append(
                gt_boxes.tensor[matches] if len(gt_boxes) else torch.zeros_like(all_anchors.tensor)
            )
        return labels, boxes

    def _subsample_labels(self, label: Tensor) -> Tensor:
        positive, negative = subsample_labels(
            label, self.batch_size_per_image, self.positive_fraction, 0
        )
        return label.fill_(-1).index_fill_(0, positive, 1).index_fill_(0, negative, 0)

    def losses(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        gt_labels: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        gt_boxes: list[Tensor],
    ) -> dict[str, Tensor]:
        """Equation (1) of the paper, with both terms divided by the number of sampled anchors.

        Args:
            anchors: L levels of anchors.
            pred_objectness_logits: L tensors (N, A_l).
            gt_labels: N labels (S,).
            pred_anchor_deltas: L tensors (N, A_l, B).
            gt_boxes: N boxes (S, 4).

        Returns:
            ``loss_rpn_cls`` and ``loss_rpn_loc``, weighted.
        """
        count = len(gt_labels)
        labels = torch.stack(gt_labels)  # (N, S)
        positive, sampled = labels == 1, labels >= 0
        if has_event_storage():
            positives = positive.sum().item()
            negatives = sampled.sum().item() - positives
            get_event_storage().put_scalar("rpn/num_pos_anchors", positives / count)
            get_event_storage().put_scalar("rpn/num_neg_anchors", negatives / count)

        localization = _dense_box_regression_loss(
            anchors,
            self.box2box_transform,
            pred_anchor_deltas,
            gt_boxes,
            positive,
            box_reg_loss_type=self.box_reg_loss_type,
            smooth_l1_beta=self.smooth_l1_beta,
        )
        objectness = F.binary_cross_entropy_with_logits(
            cat(pred_objectness_logits, dim=1)[sampled],
            labels[sampled].to(torch.float32),
            reduction="sum",
        )
        losses = {"loss_rpn_cls": objectness, "loss_rpn_loc": localization}
        normalizer = self.batch_size_per_image * count
        return {k: v / normalizer * self.loss_weight.get(k, 1.0) for k, v in losses.items()}

    @torch.no_grad()
    def predict_proposals(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        image_sizes: list[tuple[int, int]],
    ) -> list[Instances]:
        """Decode the best anchors of each level and suppress overlaps.

        Proposals are constants to the losses behind them (the paper's approximate joint
        training), hence no gradient.

        Args:
            anchors: L levels of anchors.
            pred_objectness_logits: L tensors (N, A_l).
            pred_anchor_deltas: L tensors (N, A_l, B).
            image_sizes: (height, width) of each image.

        Returns:
            N proposals (``proposal_boxes``, ``objectness_logits``) in falling order.
        """
        top_k, kept = self.pre_nms_topk[self.training], self.post_nms_topk[self.training]
        if type(self)._decode_proposals is not RPN._decode_proposals:
            return find_top_rpn_proposals(
                self._decode_proposals(anchors, pred_anchor_deltas),
                pred_objectness_logits,
                image_sizes,
                self.nms_thresh,
                top_k,
                kept,
                self.min_box_size,
                self.training,
            )
        boxes, logits = [], []
        for level_anchors, level_logits, deltas in zip(
            anchors, pred_objectness_logits, pred_anchor_deltas, strict=True
        ):
            # Ranking needs no boxes: only what it keeps is decoded, a tenth or less.
            top, index = top_anchors(level_logits, top_k)
            chosen = deltas.gather(1, index[..., None].expand(-1, -1, deltas.shape[-1]))
            decoded = self.box2box_transform.apply_deltas(
                chosen.flatten(0, 1), level_anchors.tensor[index.flatten()]
            )
            boxes.append(decoded.view_as(chosen))
            logits.append(top)
        return suppress_proposals(
            boxes,
            logits,
            image_sizes,
            self.nms_thresh,
            kept,
            self.min_box_size,
            self.training,
        )

    def _decode_proposals(
        self, anchors: list[Boxes], pred_anchor_deltas: list[Tensor]
    ) -> list[Tensor]:
        """All boxes of each level, L tensors (N, A_l, B), for subclasses that decode otherwise.

        Args:
            anchors: L levels of anchors.
            pred_anchor_deltas: L tensors (N, A_l, B).
        """
        return [
            self.box2box_transform.apply_deltas(
                deltas.flatten(0, 1), level.tensor.repeat(len(deltas), 1)
            ).view_as(deltas)
            for level, deltas in zip(anchors, pred_anchor_deltas, strict=True)
        ]
