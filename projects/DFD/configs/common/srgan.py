"""SRGAN at 2x (Ledig et al., CVPR 2017): SRResNet trained for content, then against a
discriminator.

Its content loss on features is ``feature_content``, of a classifier in place of VGG-19.
"""

from lowres_d2.engine.stages import Stage
from lowres_d2.modeling.super_resolution import FeatureContent, ImageDiscriminator, SRResNet

from detectron2.config import LazyCall as L

from .....configs.common.models.resnet18_cifar import model as classifier
from .super_resolution import lr_multiplier, model, optimizer, train

model.detector.network = L(SRResNet)(
    # Pixels along each side that are made of one.
    factor=2,
    # Channels of the residual blocks.
    width=64,
    # Number of residual blocks.
    depth=16,
)
model.detector.discriminator = L(ImageDiscriminator)(
    # Height and width of the targets.
    image_size=16,
    # Channels after the first two convolutions; each next two have twice as many.
    width=64,
    # Number of halvings.
    depth=4,
    # Width of the fully connected layer.
    hidden=1024,
)
# Ledig et al., Eq. 3, where pixels are in [-1, 1]: squared differences of those in [0, 1], times 4.
# The discriminator's own loss has no part in it.
model.loss_weights = {
    "detector/loss_content": 4.0,
    "detector/loss_adversarial": 0.001,
    "detector/loss_discriminator": 1.0,
}

# In place of the pixels', as model.detector.content. Features after batch norm need no rescaling,
# other than those of VGG-19 there.
feature_content = L(FeatureContent)(
    classifier=classifier,
    # Folder or file of the run that trained it, on the same classes.
    checkpoint="",
    # Module whose output is compared.
    tap="backbone.res3",
    # Weight of the pixels' squared differences beside the features'.
    pixels=0.0,
)

# Ledig et al., Sec. 3.2: first for content alone, "to avoid undesired local optima", then with both
# players. Each stage has the recipe's learning-rate curve.
train.stages = [
    L(Stage)(name="content", iterations=0.8, trainable=["detector.network.*"]),
    L(Stage)(name="adversarial", trainable=["detector.network.*", "detector.discriminator.*"]),
]
optimizer.lr = 0.0001
