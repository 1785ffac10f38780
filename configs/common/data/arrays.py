"""The data loaders of classification sets that are held in memory, all images of one size.

Each data set's file fills in ``train.dataset`` and ``test.dataset``.
"""

from lowres_d2.data.classification import build_array_test_loader, build_array_train_loader
from lowres_d2.evaluation import ClassificationEvaluator

from detectron2.config import LazyCall as L
from omegaconf import MISSING, OmegaConf

dataloader = OmegaConf.create()

dataloader.train = L(build_array_train_loader)(
    # The images to train on, with their labels.
    dataset=MISSING,
    # Images per iteration, over all GPUs.
    total_batch_size=128,
    # Seed of the images' order and augmentation.
    seed="${train.seed}",
    # Random crop: black pixels added on each side, and as many cut off again; 0: none.
    crop_padding=4,
    # Whether half of the images are mirrored; not where left and right tell classes apart.
    flip=True,
)

dataloader.test = L(build_array_test_loader)(
    # The images to evaluate on.
    dataset=MISSING,
    # Images per batch, on each GPU.
    batch_size=128,
)

dataloader.evaluator = L(ClassificationEvaluator)(
    # The ground truth.
    dataset="${..test.dataset}",
    # Where predictions and metrics are written.
    output_dir="${train.output_dir}",
)
