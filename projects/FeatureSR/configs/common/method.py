"""The parts of FeatureSR for recipes, and its two training stages after the base detector."""

from copy import deepcopy

from lowres_d2.engine.stages import Stage
from lowres_d2.modeling.roi_heads import SRDiscriminator, SRGenerator, SuperResolution

from detectron2.config import LazyCall as L

super_resolution = L(SuperResolution)(
    generator=L(SRGenerator)(
        # Channels of the feature map that regions are pooled from.
        base_channels=1024,
        # Channels of the earlier feature map beside it.
        sub_channels=256,
        # Number of residual blocks.
        num_blocks=2,
        # None: two 3x3 convolutions per block; a number: 1x1, 3x3, 1x1 with that many channels.
        bottleneck_channels=None,
    ),
    discriminator=L(SRDiscriminator)(
        channels="${..generator.base_channels}",
        # Features of its two hidden layers.
        hidden=256,
        # Parts along each side of a region over which cells are averaged.
        grid=1,
    ),
    # Feature maps that the finer features are pooled from.
    sub_in_features=["res2"],
    sub_pooler=None,  # set by recipes, for the stride of the sub features
    # Proposals below this area, in square pixels of the network's input, are small.
    max_area=96 * 96,
    # Regions below this area, likewise, are not used as targets.
    min_target_area=32 * 32,
    # Largest number of regions per image that are supervised in an iteration.
    max_pairs=64,
    # Features that are the targets: atrous, the twin's; naive, the backbone's; none (and then no
    # discriminator).
    supervision="atrous",
    # Whether the distance to the target is a loss, beside the discriminator's judgement.
    content_loss=True,
    # Every so many iterations one trains the discriminator, the others train the generator.
    discriminator_period=2,
    # A small proposal's ratio is the smallest by which its sides reach the threshold, else the
    # largest. Each has a generator and a discriminator; an iteration trains one ratio.
    ratios=[2],
    # Whether targets and sub features are pooled from the very places that the base features show.
    aligned=True,
)

# The paper does not give its weights: all losses are weighted alike.
loss_weights = {
    "detector/loss_content": 1.0,
    "detector/loss_generator": 1.0,
    "detector/loss_cls_small*": 1.0,
    "detector/loss_box_reg_small*": 1.0,
}

# Batch norm keeps its statistics in frozen parts, and in the small predictor, a copy of the large.
stages = [
    L(Stage)(
        name="super_resolution",
        trainable=[
            "detector.roi_heads.super_resolution.*",
            "detector.roi_heads.small_*",
        ],
        eval_modules=["detector.backbone", "detector.backbone.*", "detector.roi_heads.*res5*"],
    ),
]
stages.append(deepcopy(stages[0]))
stages[1].name = "predictors"
stages[1].trainable = [
    "detector.roi_heads.small_*",
    "detector.roi_heads.box_*",
    "detector.roi_heads.res5.*",
]
