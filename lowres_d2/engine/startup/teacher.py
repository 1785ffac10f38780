"""Check before the first iteration that the teacher fits the data and is good enough."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence

from lowres_d2.data.datasets.sample import EvenSample
from lowres_d2.engine.build import check_classes, check_trained_classes
from lowres_d2.engine.compare import FullResolutionModel, evaluate_apart, metric_of
from lowres_d2.modeling.teacher import Teacher
from lowres_d2.modeling.tiles import TiledDetector

from detectron2.utils import comm
from omegaconf import DictConfig

logger = logging.getLogger(__name__)


def check_teacher_fits(teacher: Teacher, classes: Sequence[str] | None) -> None:
    """Load the teacher's weights and check its classes against the data's.

    Args:
        teacher: teacher of the model to train.
        classes: class names of the data; None if it has none.

    Raises:
        ValueError: the teacher has no weights, or predicts other classes.
        FileNotFoundError: its weights are missing.
    """
    if teacher.lacks_weights:
        raise ValueError(
            "the teacher has no weights: set model.teacher.checkpoint=FILE (a checkpoint of the "
            "full-resolution recipe, or a zoo file), or null to use the network as built"
        )
    if classes is not None:
        check_classes(teacher.model, list(classes), "model.teacher.model")
    teacher.load()
    if classes is not None and teacher.report is not None:
        check_trained_classes(teacher.report, classes, "model.teacher.checkpoint")


def check_teacher_accuracy(
    cfg: DictConfig, teacher: Teacher, tiles: TiledDetector | None = None
) -> float | None:
    """Evaluate the teacher, at its full resolution, on some images of the test set.

    Args:
        cfg: the recipe with its data sets built; ``train.teacher_check`` has the number of images
            (0: no check) and the floor.
        teacher: teacher with its weights loaded.
        tiles: in which the run evaluates its model, and the teacher, too; None: whole images.

    Returns:
        The teacher's ``train.best.val_metric``; None without a check.

    Raises:
        ValueError: that is below the floor, or the evaluator does not report it.
    """
    wanted, metric = cfg.train.teacher_check, cfg.train.best.val_metric
    if not wanted.images:
        return None
    test_set = cfg.dataloader.test.dataset
    cfg.dataloader.test.dataset = sample = EvenSample(test_set, wanted.images)
    try:
        # Elsewhere: a start that is refused leaves nothing in the run's folder.
        full = FullResolutionModel(teacher).eval()
        with tempfile.TemporaryDirectory() as folder:
            results = evaluate_apart(cfg, tiles.around(full) if tiles else full, folder)
    finally:
        cfg.dataloader.test.dataset = test_set
    # Only the main process has results, but all processes have to stop.
    reached = comm.all_gather(metric_of(results, metric))[0]
    if reached is None:
        raise ValueError(
            f"the teacher has no {metric} on {len(sample)} images of the test set: raise "
            "train.teacher_check.images, or choose another train.best.val_metric"
        )
    logger.info(
        "teacher: %s %.1f on %d images of the test set, at full resolution",
        metric,
        reached,
        len(sample),
    )
    if reached < wanted.min_ap:
        raise ValueError(
            f"the teacher reaches only {metric} {reached:.1f} on {len(sample)} images of the test "
            f"set, train.teacher_check.min_ap is {wanted.min_ap:g}: {_remedy(teacher)}"
        )
    return reached


def _remedy(teacher: Teacher) -> str:
    """What to do about a bad teacher; the commonest cause is that it was trained for a trial."""
    iterations = teacher.report.iterations if teacher.report else None
    if iterations is None:
        return (
            "check its weights (model.teacher.checkpoint) and channel order "
            "(model.teacher.flip_channels), or lower train.teacher_check.min_ap"
        )
    return (
        f"its weights were trained for {iterations:,} iterations: where that is few, train it "
        "longer, or set train.teacher_check.min_ap=0 for a trial; otherwise check its channel "
        "order (model.teacher.flip_channels)"
    )
