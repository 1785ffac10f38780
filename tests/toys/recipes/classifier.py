"""A tiny classifier on toy CIFAR-10 files, degraded by DownUp; for tests of programs."""

from lowres_d2.data.classification import (
    Cifar10,
    build_array_test_loader,
    build_array_train_loader,
)
from lowres_d2.evaluation import ClassificationEvaluator
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import CifarAlexNet
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.resample import DownUp

from detectron2.config import LazyCall as L
from omegaconf import OmegaConf

from ....configs.quick.full_fcos_small_256_plates import lr_multiplier, optimizer, train

data = OmegaConf.create({"root": ""})
dataloader = OmegaConf.create(
    dict(
        train=L(build_array_train_loader)(
            dataset=L(Cifar10)(root="${data.root}"),
            total_batch_size=8,
            seed="${train.seed}",
        ),
        test=L(build_array_test_loader)(
            dataset=L(Cifar10)(root="${data.root}", split="test"), batch_size=8
        ),
        evaluator=L(ClassificationEvaluator)(
            dataset="${..test.dataset}", output_dir="${train.output_dir}"
        ),
    )
)
model = L(LowResDetector)(
    detector=L(ImageClassifier)(
        backbone=L(CifarAlexNet)(width=4),
        num_classes=10,
        pixel_mean=[128.0] * 3,
        pixel_std=[64.0] * 3,
    ),
    resampler=L(DownUp)(factor=4),
)
train.max_iter = 2
train.eval_period = 0
train.log_period = 1
train.device = "cpu"
train.best.val_metric = "classification/top1"
