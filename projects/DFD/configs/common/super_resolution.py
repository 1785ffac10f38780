"""Super-resolution first (Sec. 3.5): networks trained at 2x on pairs of 8x8 and 16x16 pixels made
of each image, and what a classifier is then trained and tested on.

The paper says neither how it trained them nor which size the classifier gets: both are ours.
"""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import SuperResolver
from lowres_d2.modeling.resample import Identity, SuperResolved

from detectron2.config import LazyCall as L
from omegaconf import MISSING

from .....configs.common.optim import AdamW as optimizer
from .....configs.common.schedule import one_cycle as lr_multiplier
from .....configs.common.train import train

model = L(LowResDetector)(
    detector=L(SuperResolver)(
        # From lowres_d2.modeling.super_resolution.
        network=MISSING,
        # Factor from the image to the network's input; 4: 8x8 of 32x32 pixels. Of its factor of 2
        # the target then has 16x16.
        low_factor=4,
        # Of the downsampling to both: bicubic, bilinear or box.
        interpolation="bicubic",
        # Tells targets from the network's images; null: no adversarial loss.
        discriminator=None,
        # Content loss; null: the mean of squared differences of pixels in [0, 1].
        content=None,
    ),
    resampler=L(Identity)(),
)

super_resolved = L(SuperResolved)(
    # The network that was trained, with the arguments that it was trained with.
    network=MISSING,
    # Folder or file of the run that trained it.
    checkpoint="",
    # Factor from the image to the network's input, as in its training.
    low_factor=4,
    # Factor from the image to what the classifier gets: 1 makes 32x32 again, as DFD's students and
    # the baseline without it have; 2 makes 16x16, which the network gives.
    output_factor=1,
    # Of the downsampling, and of the way from the network's 16x16 to the classifier's size.
    interpolation="bicubic",
)

optimizer.lr = 0.001
# The networks are small for so many images.
optimizer.weight_decay = 0.0

# 50,000 images, 128 per iteration: 39,063 iterations are 100 epochs, as for the classifiers.
train.max_iter = 39063
train.log_period = 100
# At the end only, as the classifiers.
train.eval_period = 0
train.checkpointer.period = 3907
train.best.val_metric = "super_resolution/psnr"
