"""ResNet-18 for 32x32 images: 11.2 M parameters for ten classes."""

from lowres_d2.modeling.backbone import CifarResNet18
from lowres_d2.modeling.meta_arch import ImageClassifier

from detectron2.config import LazyCall as L

model = L(ImageClassifier)(
    backbone=L(CifarResNet18)(
        # Channels of the first convolution, of which the others' are multiples.
        width=64,
        # Norm after each convolution.
        norm="BN",
    ),
    # Number of classes.
    num_classes=10,
    # CIFAR-10's, RGB, for all data sets here: batch norm makes up for a difference.
    pixel_mean=[125.3, 123.0, 113.9],
    pixel_std=[63.0, 62.1, 66.7],  # CIFAR-10's, too
    # The feature map is averaged into so many cells along each side.
    pooled_size=1,
    # Widths of the fully connected layers before the last one.
    hidden=[],
    # Whether these layers have batch norm before their ReLU.
    hidden_norm=False,
    # Probability of dropout, of the input of the last fully connected layer and of every hidden one
    # but the first.
    dropout=0.0,
)
