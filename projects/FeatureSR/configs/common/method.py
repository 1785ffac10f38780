"""The parts of FeatureSR as a recipe takes them, and its two stages after the base detector's."""

from copy import deepcopy

from lowres_d2.engine.stages import Stage
from lowres_d2.modeling.roi_heads import SRDiscriminator, SRGenerator, SuperResolution

from detectron2.config import LazyCall as L

super_resolution = L(SuperResolution)(
    generator=L(SRGenerator)(
        # Of the map that boxes are pooled from.
        base_channels=1024,
        # Of the earlier map beside it.
        sub_channels=256,
        # Residual blocks in a row.
        num_blocks=2,
        # None: two 3x3 convolutions a block; a number: 1x1, 3x3, 1x1 with so many channels inside.
        bottleneck_channels=None,
    ),
    discriminator=L(SRDiscriminator)(
        channels="${..generator.base_channels}",
        # Features of its two hidden layers.
        hidden=256,
        # Parts of a region, along each side, that it sees apart.
        grid=1,
    ),
    # Maps that the finer features are pooled from.
    sub_in_features=["res2"],
    sub_pooler=None,  # the recipe's own, on the sub layer's stride
    # Proposals under this area, in pixels of the network's input, are small.
    max_area=96 * 96,
    # Regions under this area, likewise, are no targets to follow.
    min_target_area=32 * 32,
    # An image's regions that teach in a step, at most.
    max_pairs=64,
    # Whose features are followed: atrous, the twin's; naive, the backbone's; none (and then no
    # discriminator).
    supervision="atrous",
    # Every so many steps one is the discriminator's, the others are the generator's.
    discriminator_period=2,
    # A small proposal's is the first by which its sides have to grow to reach the threshold, else
    # the last. Each has a generator and a discriminator; in a step one of them learns.
    ratios=[2],
)

# The paper does not give its weights: all losses alike.
loss_weights = {
    "detector/loss_content": 1.0,
    "detector/loss_generator": 1.0,
    "detector/loss_cls_small*": 1.0,
    "detector/loss_box_reg_small*": 1.0,
}

# Batch norm stands still in what is frozen, and in the small predictor, which starts as the large.
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
