"""An image classifier in Detectron2's terms: a backbone, pooling, fully connected layers.

Inputs are Detectron2's, with ``label`` in place of boxes. All images of a batch have one size: a
classifier's accuracy depends on it, and padding would be pooled with the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn


class ImageClassifier(nn.Module):
    """Any Detectron2 backbone as a classifier.

    The features of an image are the input of the last fully connected layer, after ReLU and before
    dropout. They pass through the module ``features``, where objectives tap them.

    Args:
        backbone: maps images to feature maps by name, and has Detectron2's ``output_shape``.
        num_classes: number of classes.
        pixel_mean: mean of each channel, of pixels from 0 to 255.
        pixel_std: standard deviation of each channel.
        feature: name of the feature map that is classified; None: the backbone's only one.
        pooled_size: the feature map is averaged into so many cells along each side.
        hidden: widths of the fully connected layers, each with ReLU, before the last one.
        dropout: probability of dropout, of the input of the last fully connected layer and of every
            hidden one but the first.
        hidden_norm: whether a hidden layer has batch norm before its ReLU, in place of a bias.

    Raises:
        ValueError: the backbone has no such feature map, or more than one and none is named;
            ``hidden_norm`` without hidden layers.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        feature: str | None = None,
        pooled_size: int = 1,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        hidden_norm: bool = False,
    ) -> None:
        super().__init__()
        if hidden_norm and not hidden:
            raise ValueError("hidden_norm=True: there are no hidden layers, hidden is empty")
        self.backbone = backbone
        self.num_classes = num_classes
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.feature = _one_of(backbone.output_shape(), feature)
        self.pool = nn.AdaptiveAvgPool2d(pooled_size)
        channels = backbone.output_shape()[self.feature].channels
        widths = [channels * pooled_size**2, *hidden]
        self.hidden = nn.ModuleList(_hidden_layer(*pair, hidden_norm) for pair in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.features = nn.Identity()
        self.classifier = nn.Linear(widths[-1], num_classes)
        # As in Detectron2's ResNet (Goyal et al. 2017, Sec. 5.1).
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.pixel_mean.device

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Float[Tensor, ""]] | list[dict[str, Float[Tensor, " K"]]]:
        """Loss in training, scores in evaluation.

        Args:
            batched_inputs: a dict for each image: ``image`` (C, H, W), 0 to 255; in training
                ``label``, an int.

        Returns:
            In training ``loss_cls``, the cross entropy, mean over the images. In evaluation for
            each image ``scores``, the probabilities of the classes.

        Raises:
            ValueError: images differ in size, or an image has no label of the classes.
        """
        logits = self._logits(self._images(batched_inputs))
        if self.training:
            return {"loss_cls": F.cross_entropy(logits, self._labels(batched_inputs))}
        return [{"scores": scores} for scores in logits.float().softmax(dim=1)]

    def _images(self, batched_inputs: list[dict[str, Any]]) -> Float[Tensor, "N C H W"]:
        """A batch of normalized images."""
        sizes = {tuple(x["image"].shape[-2:]): x.get("file_name", "") for x in batched_inputs}
        if len(sizes) > 1:
            found = ", ".join(f"{w}x{h} {name}".rstrip() for (h, w), name in sizes.items())
            raise ValueError(
                f"images of a batch differ in size ({found}): a classifier takes images of one "
                "size; resize or crop them in the mapper"
            )
        images = torch.stack([x["image"].to(self.device) for x in batched_inputs])
        return (images - self.pixel_mean) / self.pixel_std

    def _labels(self, batched_inputs: list[dict[str, Any]]) -> Int64[Tensor, " N"]:
        labels = [x.get("label") for x in batched_inputs]
        for x, label in zip(batched_inputs, labels, strict=True):
            if label is None or not 0 <= label < self.num_classes:
                name = x.get("file_name") or f"image {x.get('image_id', '')}".rstrip()
                raise ValueError(
                    f"{name}: label {label}, expected a number from 0 to {self.num_classes - 1} "
                    "(num_classes of the model)"
                )
        return torch.tensor(labels, device=self.device)

    def _logits(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        x = self.pool(self.backbone(images)[self.feature]).flatten(1)
        for index, layer in enumerate(self.hidden):
            x = F.relu(layer(self.dropout(x) if index else x))
        return self.classifier(self.dropout(self.features(x)))


def _hidden_layer(channels: int, width: int, norm: bool) -> nn.Module:
    layer = nn.Linear(channels, width, bias=not norm)
    weight_init.c2_xavier_fill(layer)
    return nn.Sequential(layer, nn.BatchNorm1d(width)) if norm else layer


def _one_of(shapes: Mapping[str, Any], feature: str | None) -> str:
    names = list(shapes)
    if feature is None and len(names) == 1:
        return names[0]
    if feature not in names:
        raise ValueError(
            f"feature={feature!r}: expected one of the backbone's feature maps, {', '.join(names)}"
        )
    return feature
