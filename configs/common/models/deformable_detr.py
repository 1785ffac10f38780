"""Deformable DETR (Zhu et al. 2021), ResNet-50 as in torchvision: RGB pixels, four levels."""

from lowres_d2.modeling.deformable_detr.criterion import SetCriterion
from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher
from lowres_d2.modeling.meta_arch.deformable_detr import DeformableDETR

from detectron2.config import LazyCall as L

from .resnet import resnet50

# The stride is in the 3x3 convolutions of torchvision's weights, as in the authors'.
resnet50.stages.stride_in_1x1 = False

weights_r50 = "detectron2://ImageNetPretrained/torchvision/R-50.pkl"

model = L(DeformableDETR)(
    backbone=resnet50,
    # Maps of the backbone, the finest one first.
    in_features="${.backbone.out_features}",
    # Of the data, labels are contiguous.
    num_classes=80,
    # Which query learns which object, and what it loses.
    criterion=L(SetCriterion)(num_classes="${..num_classes}", matcher=L(HungarianMatcher)()),
    # Of the images as RGB, 0..255: what torchvision's weights were trained on.
    pixel_mean=[123.675, 116.28, 103.53],
    # Likewise.
    pixel_std=[58.395, 57.12, 57.375],
    # Detections that are possible, most of them background.
    num_queries=300,
    # Of each level, and of the queries.
    channels=256,
    # Attentions beside each other in a layer.
    num_heads=8,
    # Maps that are looked at; those below the backbone's are made by convolutions of stride 2.
    num_levels=4,
    # Points that a query looks at in each level, with each head.
    num_points=4,
    # Channels inside the feed-forward blocks.
    feedforward=1024,
    # Layers in which cells look at cells.
    encoder_layers=6,
    # Layers in which queries look at cells.
    decoder_layers=6,
    # Share of values that are left out in training.
    dropout=0.1,
    # After the convolutions that bring maps to `channels`: group norm of 32 groups.
    norm="GN",
    # Whether earlier decoder layers are trained to predict, too.
    aux_loss=True,
    # Whether each decoder layer looks around the boxes of the one before.
    with_box_refine=False,
    # Whether queries come from the encoder's best cells.
    two_stage=False,
    # Pairs of a query and a class that are kept, the best ones of an image.
    test_topk=100,
)
