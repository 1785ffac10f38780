"""Loaders for training and evaluation, and the dataset dicts that go into them.

A dataset dict describes one image: `file_name`, `height`, `width`, `image_id` and `annotations`,
a list of dicts with `bbox`, `bbox_mode`, `category_id`, `iscrowd`. A batch is a list of what the
mapper makes of them.
"""

from __future__ import annotations

import itertools
import logging
import operator
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from detectron2._uncovered import needs_upstream, uncovered
from detectron2.utils.comm import get_world_size
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import log_first_n
from torch.utils import data as torchdata

from .catalog import DatasetCatalog, MetadataCatalog
from .common import AspectRatioGroupedDataset, DatasetFromList, MapDataset, ToIterableDataset
from .detection_utils import check_metadata_consistency
from .samplers import InferenceSampler, TrainingSampler

__all__ = [
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "get_detection_dataset_dicts",
    "load_proposals_into_dataset",
    "print_instances_class_histogram",
]

logger = logging.getLogger(__name__)

filter_images_with_few_keypoints = uncovered("filter_images_with_few_keypoints")
load_proposals_into_dataset = uncovered("load_proposals_into_dataset")


def filter_images_with_only_crowd_annotations(dataset_dicts: list[dict]) -> list[dict]:
    """Drop images without an object to learn (no objects, or crowds only)."""
    kept = [
        image
        for image in dataset_dicts
        if any(annotation.get("iscrowd", 0) == 0 for annotation in image["annotations"])
    ]
    logger.info(
        f"Dropped {len(dataset_dicts) - len(kept)} images without usable annotations; "
        f"{len(kept)} remain"
    )
    return kept


def print_instances_class_histogram(dataset_dicts: list[dict], class_names: list[str]) -> None:
    """Log how many objects each class has, crowds not counted."""
    from tabulate import tabulate

    counts = Counter(
        annotation["category_id"]
        for image in dataset_dicts
        for annotation in image["annotations"]
        if not annotation.get("iscrowd", 0)
    )
    for category in counts:
        if not 0 <= category < len(class_names):
            raise ValueError(
                f"category_id {category!r} in the data, but {len(class_names)} classes have the "
                f"ids 0 to {len(class_names) - 1}"
            )
    cells: list[Any] = [
        cell for i, name in enumerate(class_names) for cell in (_shortened(name), counts[i])
    ]
    cells += [None] * (len(cells) % 2)
    if len(class_names) > 1:
        cells += ["total", counts.total()]
    columns = min(6, len(cells))
    rows = itertools.zip_longest(*(cells[i::columns] for i in range(columns)))
    table = tabulate(
        rows,
        headers=["category", "#instances"] * (columns // 2),
        tablefmt="pipe",
        numalign="left",
        stralign="center",
    )
    log_first_n(
        logging.INFO,
        f"Objects in the {len(class_names)} classes:\n{table}",
        key="message",
    )


def _shortened(name: str) -> str:
    return name if len(name) <= 13 else name[:11] + ".."


def get_detection_dataset_dicts(
    names: str | list[str],
    filter_empty: bool = True,
    min_keypoints: int = 0,
    proposal_files: list[str] | None = None,
    check_consistency: bool = True,
) -> list[dict] | torchdata.Dataset:
    """Load registered data sets and join them.

    Args:
        names: one name or several.
        filter_empty: leave out images without usable annotations.
        min_keypoints: needs upstream unless 0.
        proposal_files: needs upstream.
        check_consistency: the data sets that name their classes must name the same ones.

    Returns:
        The dicts of all; or, for names that load a torch data set, that one (joined if several).
    """
    if min_keypoints:
        needs_upstream("get_detection_dataset_dicts(min_keypoints)")
    if proposal_files:
        needs_upstream("get_detection_dataset_dicts(proposal_files)")
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError("get_detection_dataset_dicts: names is empty")
    loaded = [DatasetCatalog.get(name) for name in names]
    if isinstance(loaded[0], torchdata.Dataset):
        return loaded[0] if len(loaded) == 1 else torchdata.ConcatDataset(loaded)
    for name, dicts in zip(names, loaded, strict=True):
        if not dicts:
            raise ValueError(f"data set {name!r} is empty")
    images = list(itertools.chain.from_iterable(loaded))
    has_annotations = "annotations" in images[0]
    if filter_empty and has_annotations:
        images = filter_images_with_only_crowd_annotations(images)
    if check_consistency and has_annotations:
        named = [n for n in names if MetadataCatalog.get(n).get("thing_classes") is not None]
        check_metadata_consistency("thing_classes", named)
        # Ids of a data set without names may lie beyond the names of another one.
        if named == names:
            classes = MetadataCatalog.get(names[0]).thing_classes
            print_instances_class_histogram(images, classes)
    if not images:
        raise ValueError(f"no image with usable annotations in {', '.join(names)}")
    return images


def build_batch_data_loader(
    dataset: torchdata.Dataset,
    sampler: torchdata.Sampler | None,
    total_batch_size: int | None,
    *,
    aspect_ratio_grouping: bool = False,
    num_workers: int = 0,
    collate_fn: Callable[[list], Any] | None = None,
    drop_last: bool = True,
    single_gpu_batch_size: int | None = None,
    prefetch_factor: int | None = 2,
    persistent_workers: bool = False,
    pin_memory: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> Iterable:
    """A loader of batches for this process.

    Args:
        dataset: map-style, or iterable (then without sampler).
        sampler: indices for this process.
        total_batch_size: over all processes; must be a multiple of their number.
        aspect_ratio_grouping: no wide and tall images in one batch; elements then have `width`
            and `height`.
        num_workers: loader processes; 0 loads in this one.
        collate_fn: what makes a batch of a list of elements; None leaves it a list.
        drop_last: leave a last, incomplete batch out.
        single_gpu_batch_size: batch of each process, instead of `total_batch_size`.
        prefetch_factor: batches each worker prepares ahead.
        persistent_workers: keep workers between passes.
        pin_memory: as in torch's DataLoader.
        seed: of the loader's own generator, from which the workers are seeded.
        **kwargs: further arguments of torch's DataLoader.
    """
    batch_size = _batch_of_this_process(total_batch_size, single_gpu_batch_size)
    if not isinstance(dataset, torchdata.IterableDataset):
        dataset = ToIterableDataset(dataset, sampler, shard_chunk_size=batch_size)
    elif sampler is not None:
        raise ValueError("an iterable data set has its own order: sampler must be None")
    if seed is not None:
        kwargs["generator"] = torch.Generator()
        kwargs["generator"].manual_seed(seed)
    kwargs |= {
        "num_workers": num_workers,
        "worker_init_fn": worker_init_reset_seed,
        "prefetch_factor": prefetch_factor if num_workers > 0 else None,
        "persistent_workers": persistent_workers,
        "pin_memory": pin_memory,
    }
    if not aspect_ratio_grouping:
        collate = collate_fn or trivial_batch_collator
        return torchdata.DataLoader(
            dataset, batch_size=batch_size, drop_last=drop_last, collate_fn=collate, **kwargs
        )
    if not drop_last:
        raise ValueError("aspect_ratio_grouping makes full batches only: drop_last must be True")
    # The workers give single elements; they are grouped here.
    elements = torchdata.DataLoader(dataset, collate_fn=operator.itemgetter(0), **kwargs)
    batches = AspectRatioGroupedDataset(elements, batch_size)
    return batches if collate_fn is None else MapDataset(batches, collate_fn)


def _batch_of_this_process(total: int | None, single: int | None) -> int:
    world_size = get_world_size()
    if single:
        return single
    if not total or total < 0 or total % world_size:
        raise ValueError(
            f"total_batch_size must be a positive multiple of the {world_size} processes, got "
            f"{total!r}"
        )
    return total // world_size


def build_detection_train_loader(
    dataset: list[dict] | torchdata.Dataset,
    *,
    mapper: Callable[[dict], Any] | None,
    sampler: torchdata.Sampler | None = None,
    total_batch_size: int,
    aspect_ratio_grouping: bool = True,
    num_workers: int = 0,
    collate_fn: Callable[[list], Any] | None = None,
    **kwargs: Any,
) -> Iterable:
    """An endless loader of training batches.

    Args:
        dataset: dicts, or a map-style or iterable data set of them.
        mapper: makes of a dict what the model takes; None leaves it.
        sampler: indices; None is a TrainingSampler. An iterable data set has none.
        total_batch_size: over all processes.
        aspect_ratio_grouping: no wide and tall images in one batch.
        num_workers: loader processes.
        collate_fn: what makes a batch of a list; None leaves it a list.
        **kwargs: as for `build_batch_data_loader`.
    """
    dataset = _mapped(dataset, mapper)
    if isinstance(dataset, torchdata.IterableDataset):
        if sampler is not None:
            raise ValueError("an iterable data set has its own order: sampler must be None")
    elif sampler is None:
        sampler = TrainingSampler(len(dataset))
    return build_batch_data_loader(
        dataset,
        sampler,
        total_batch_size,
        aspect_ratio_grouping=aspect_ratio_grouping,
        num_workers=num_workers,
        collate_fn=collate_fn,
        **kwargs,
    )


def build_detection_test_loader(
    dataset: list[Any] | torchdata.Dataset,
    *,
    mapper: Callable[[dict], Any] | None,
    sampler: torchdata.Sampler | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable[[list], Any] | None = None,
) -> torchdata.DataLoader:
    """A loader that gives each image once, over all processes together, in order.

    Args:
        dataset: dicts, or a map-style or iterable data set of them.
        mapper: makes of a dict what the model takes; None leaves it.
        sampler: indices; None is an InferenceSampler. An iterable data set has none.
        batch_size: of each process.
        num_workers: loader processes.
        collate_fn: what makes a batch of a list; None leaves it a list.
    """
    dataset = _mapped(dataset, mapper)
    if isinstance(dataset, torchdata.IterableDataset):
        if sampler is not None:
            raise ValueError("an iterable data set has its own order: sampler must be None")
    elif sampler is None:
        sampler = InferenceSampler(len(dataset))
    return torchdata.DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=False,
        num_workers=num_workers,
        collate_fn=collate_fn or trivial_batch_collator,
    )


def _mapped(dataset: Any, mapper: Callable[[dict], Any] | None) -> torchdata.Dataset:
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    return dataset if mapper is None else MapDataset(dataset, mapper)


def trivial_batch_collator(batch: list) -> list:
    """Leave a batch the list that it is."""
    return batch


def worker_init_reset_seed(worker_id: int) -> None:
    """Seed python, numpy and torch of a loader worker from the loader's generator."""
    seed_all_rng(torch.initial_seed() % 2**31 + worker_id)
