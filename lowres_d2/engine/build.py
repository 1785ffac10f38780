"""Build a recipe's model and data sets, and check that their classes agree."""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.data.datasets import with_classes
from lowres_d2.engine.channels import check_channels, follow_channels
from lowres_d2.engine.checkpoint import LoadReport
from lowres_d2.engine.hooks.repeatable import seed_everything
from lowres_d2.engine.processes.environment import pick_device
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.channels_last import to_channels_last
from lowres_d2.recipes.load import build

from omegaconf import DictConfig, OmegaConf
from torch import nn


def build_model(cfg: DictConfig) -> nn.Module:
    """The recipe's model on its device; its initial weights depend on ``train.seed`` only.

    Numbers of channels in ``cfg`` follow those of the images, see ``lowres_d2.engine.channels``.

    Raises:
        ValueError: the device is not available, a part of the model rejects its arguments, or it
            takes other channels than the images have.
    """
    device = pick_device(cfg.train.device)
    seed_everything(cfg.train.seed, 0)
    follow_channels(cfg)
    # Built on the CPU and then moved, so that all devices start from the same weights.
    model = build(cfg, "model")
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model: {cfg.model._target_} gives a {type(model).__name__}: expected a network "
            "(torch.nn.Module)"
        )
    check_channels(cfg, model)
    model = model.to(device)
    return to_channels_last(model) if cfg.train.channels_last else model


def build_datasets(cfg: DictConfig, splits: Sequence[str] = ("train", "test")) -> None:
    """Replace the recipe's data set calls by data sets, which loaders and evaluator then share.

    A test set that lacks some classes of the training set gets them, without objects.

    Raises:
        ValueError: a file of a data set is broken.
        FileNotFoundError: a file of a data set is missing.
    """
    # Build all before replacing any: one call may refer to another's arguments.
    built = {split: build(cfg, f"dataloader.{split}.dataset") for split in splits}
    if "train" in built and "test" in built:
        train = built["train"]
        ids = getattr(train, "category_ids", ())
        built["test"] = with_classes(built["test"], getattr(train, "classes", ()), ids)
    for split, dataset in built.items():
        cfg.dataloader[split].dataset = dataset


def check_ignore_regions(cfg: DictConfig, model: nn.Module) -> None:
    """Raise if ignore regions are passed to a model that takes no notice of them.

    Raises:
        ValueError: says what to do.
    """
    crowds = OmegaConf.select(cfg, "dataloader.train.mapper.crowds")
    if crowds == "ignore" and not isinstance(model, LowResDetector):
        raise ValueError(
            f"dataloader.train.mapper.crowds=ignore: a {type(model).__name__} takes no notice of "
            "ignore regions: give it as the detector of a LowResDetector, whose resampler may be "
            "Identity, or choose crowds=blank"
        )


def check_classes(model: nn.Module, classes: list[str], key: str = "model") -> None:
    """Raise if a model predicts another number of classes than its data has.

    Args:
        model: the network.
        classes: class names of the data.
        key: the model's key in the recipe, for the message.

    Raises:
        ValueError: names the module, both numbers and the classes.
    """
    for name, module in model.named_modules():
        number = getattr(module, "num_classes", None)
        if isinstance(number, int) and number != len(classes):
            place = ".".join(part for part in (key, name, "num_classes") if part)
            raise ValueError(
                f"{place} is {number}, but the data has {len(classes)} classes "
                f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}): make them equal"
            )


def check_trained_classes(report: LoadReport, classes: Sequence[str], key: str = "") -> None:
    """Raise if weights were trained on other classes than the data has, or in another order.

    Args:
        report: of the weights.
        classes: names of the data's.
        key: key of the weights in the recipe, for the message, where they are not the model's.

    Raises:
        ValueError: names the file and both lists.
    """
    # Files of model zoos and other programs name no classes.
    if report.classes and list(report.classes) != list(classes):
        weights = f"{key}={report.path}" if key else report.path
        raise ValueError(
            f"{weights} was trained on {len(report.classes)} classes "
            f"({', '.join(report.classes)}), the data has {len(classes)} ({', '.join(classes)}): "
            "give the data the same classes in the same order"
        )
