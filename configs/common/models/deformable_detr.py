"""Deformable DETR (Zhu et al. 2021), ResNet-50 as in torchvision: RGB pixels, four levels."""

from lowres_d2.modeling.deformable_detr.criterion import SetCriterion
from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher
from lowres_d2.modeling.meta_arch.deformable_detr import DeformableDETR

from detectron2.config import LazyCall as L

from .resnet import resnet50

# torchvision's weights have the stride in the 3x3 convolutions, as the authors' do.
resnet50.stages.stride_in_1x1 = False

weights_r50 = "detectron2://ImageNetPretrained/torchvision/R-50.pkl"

model = L(DeformableDETR)(
    backbone=resnet50,
    # Feature maps of the backbone, finest first.
    in_features="${.backbone.out_features}",
    # Number of classes; labels are contiguous.
    num_classes=80,
    # Matches queries to objects, and computes the losses.
    criterion=L(SetCriterion)(num_classes="${..num_classes}", matcher=L(HungarianMatcher)()),
    # Mean of each channel as RGB, 0..255: what torchvision's weights were trained with.
    pixel_mean=[123.675, 116.28, 103.53],
    # Standard deviation of each channel, likewise.
    pixel_std=[58.395, 57.12, 57.375],
    # Number of queries; most predict background.
    num_queries=300,
    # Channels of each level and of the queries.
    channels=256,
    # Attention heads per layer.
    num_heads=8,
    # Feature levels; those beyond the backbone's come from convolutions of stride 2.
    num_levels=4,
    # Sampling points of a query per level and head.
    num_points=4,
    # Channels inside the feed-forward blocks.
    feedforward=1024,
    # Encoder layers: cells attend to cells.
    encoder_layers=6,
    # Decoder layers: queries attend to each other and to cells.
    decoder_layers=6,
    # Dropout probability in training.
    dropout=0.1,
    # Norm after the projections to `channels`: group norm of 32 groups.
    norm="GN",
    # Whether earlier decoder layers have losses, too.
    aux_loss=True,
    # Whether each decoder layer refines the boxes of the one before.
    with_box_refine=False,
    # Whether queries come from the encoder's best cells.
    two_stage=False,
    # Detections kept per image: the best pairs of a query and a class.
    test_topk=100,
)
