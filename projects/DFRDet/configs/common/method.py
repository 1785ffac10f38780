"""The parts of DFR-Det: Eq. 3, the decoder, Eq. 10, gamma and lambda of Eq. 11."""

from lowres_d2.modeling.objectives import ForegroundRefinement, ImageDecoder, WeightReconstruction

from detectron2.config import LazyCall as L

# Eq. 3.
weight_reconstruction = L(WeightReconstruction)(
    # Whether fully connected layers count, too; the paper says convolutions.
    linear=False,
    # Whether the signs are constants in it, or functions of the weights.
    constant_signs=True,
)

# Sec. 3.2 and 3.3.
refinement = L(ForegroundRefinement)(
    decoder=L(ImageDecoder)(
        # Feature maps that are decoded (Table 1; Fig. 3 has p3 to p5).
        levels=["p2", "p3", "p4"],
        # Strides of these and others.
        strides=dict(p2=4, p3=8, p4=16, p5=32, p6=64),
        # Channels of each feature map.
        channels=256,
        # Channels of the residual blocks; null: of all levels together, as in the paper.
        width=96,
        # Number of residual blocks.
        depth=2,
        # Pixels from one cell of the blocks to the next.
        stride=4,
        # Pixels along each side that the shuffle makes of a cell; null: all; 2: the paper's,
        # enlarged by 2.
        shuffle=None,
        # Norm in the residual blocks.
        norm="BN",
    ),
    # object and background are Eq. 10; image: the whole image, without a mask.
    losses=["object", "background"],
    # Over the pixels of an image: mean; sum, as printed; per_region, mean over those of each loss.
    reduction="mean",
    # Normalisation of the image that is decoded, as the detector's; null: [0, 1].
    pixel_mean=None,
    pixel_std=None,  # likewise
)

# gamma and lambda of Eq. 11; Table 1 has 0.05.
loss_weights = {"binary/*": 1e-4, "foreground/*": 0.04}
