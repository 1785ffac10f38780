"""Train and evaluate a recipe with Detectron2's trainer and hooks."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets import check_same_classes, dataset_fingerprint
from lowres_d2.engine.build import (
    build_datasets,
    build_model,
    check_classes,
    check_ignore_regions,
)
from lowres_d2.engine.checkpoint import (
    CheckpointNotWrittenError,
    RunCheckpointer,
    RunState,
    load_weights,
)
from lowres_d2.engine.closing import describe_end
from lowres_d2.engine.evaluate import evaluate
from lowres_d2.engine.hooks.best import BestWeights
from lowres_d2.engine.hooks.console import ConsoleWriter
from lowres_d2.engine.hooks.detection_images import DetectionImages
from lowres_d2.engine.hooks.early_stopping import EarlyStopping, StoppedEarly
from lowres_d2.engine.hooks.ema import WeightAverage
from lowres_d2.engine.hooks.gradients import GradientClipping
from lowres_d2.engine.hooks.last_iteration import LastIterationOnce
from lowres_d2.engine.hooks.loader_counts import LoaderCounts
from lowres_d2.engine.hooks.missed_evaluation import MissedEvaluation
from lowres_d2.engine.hooks.mixed_precision import CPUAutocast, training_precision
from lowres_d2.engine.hooks.non_finite import NonFiniteStop
from lowres_d2.engine.hooks.out_of_memory import OutOfMemoryReport
from lowres_d2.engine.hooks.periodic import PeriodicCheckpoints
from lowres_d2.engine.hooks.repeatable import SeedEachIteration, as_in_a_new_process
from lowres_d2.engine.hooks.writers import LastingWriter, without_writers_tracebacks
from lowres_d2.engine.identity import recipe_text
from lowres_d2.engine.processes.between_ranks import share_buffers, share_loss_normalizers
from lowres_d2.engine.processes.folder_lock import ELSEWHERE
from lowres_d2.engine.run_folder import (
    MADE_FROM,
    METRICS,
    RECIPE_DIGEST,
    check_sources,
    check_writable,
    claimed,
    save_config,
)
from lowres_d2.engine.stage_checks import DeadChannelWarning
from lowres_d2.engine.stages import (
    Stage,
    StageSchedule,
    lengths_after_resume,
    stage_multiplier,
    with_lengths,
)
from lowres_d2.engine.startup.cached_images import image_versions
from lowres_d2.engine.startup.metric import check_metric
from lowres_d2.engine.startup.report import StartUp, log_start_up
from lowres_d2.engine.startup.teacher import check_teacher_accuracy, check_teacher_fits
from lowres_d2.engine.startup.weights import (
    INIT,
    check_complete,
    check_used,
    check_weights,
    load_frozen_networks,
    naming_weights,
    network_weights,
)
from lowres_d2.engine.student_init import start_from_teacher
from lowres_d2.engine.trainer_state import TrainerState
from lowres_d2.evaluation.shown import ShownMetrics
from lowres_d2.modeling.meta_arch import AnyFactorDetector
from lowres_d2.modeling.run_weights import saved_weights
from lowres_d2.modeling.tiles import TiledDetector, untiled
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.recipes.changes import changed_settings
from lowres_d2.recipes.load import build
from lowres_d2.recipes.places import STARTED_IN
from lowres_d2.recipes.standalone import standalone

import torch
from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, create_ddp_model, hooks
from detectron2.utils import comm
from detectron2.utils.events import JSONWriter, TensorboardXWriter
from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf
from torch import nn

logger = logging.getLogger(__name__)


def train(
    cfg: DictConfig,
    resume: bool = False,
    allow_partial: bool = False,
    own: DictConfig | None = None,
    started: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Train a recipe to its end and evaluate it.

    Args:
        cfg: the recipe; see ``configs/common/train.py`` for every key.
        resume: continue from the last checkpoint in the output folder, if there is one.
        allow_partial: start even if much of ``train.init_checkpoint`` has no place in the model.
        own: the recipe without command-line overrides, to compare batch size and learning rate
            with; None: there are no overrides.
        started: called by the main process once the files of an earlier run are put aside.

    Returns:
        The results of the last evaluation.

    Raises:
        OSError: the output folder cannot be written to.
        ValueError: data, model, weights and recipe do not fit together.
    """
    if cfg.train.init_checkpoint and cfg.train.student_from_teacher:
        raise ValueError(
            "train.init_checkpoint and train.student_from_teacher are both set: keep the one to "
            "start from"
        )
    check_writable(cfg.train.output_dir)
    check_weights(cfg, *network_weights(cfg))
    if not (resume and saved_weights(cfg.train.output_dir)):
        check_weights(cfg, INIT)
    run = _Run(cfg, resume)
    start = run.load(resume, allow_partial)
    if not run.resumed:
        check_sources(cfg)
        run.check_first_batch()
    if run.teacher is not None and run.teacher.cache is not None:
        run.teacher.cache.versions = image_versions(cfg)
    log_start_up(
        StartUp(cfg, run.model, run.evaluator, "train", run.loaded, start, run.stages, own)
    )
    # Only now that everything fits: a start that fails leaves an earlier run as it was.
    with claimed(cfg.train.output_dir, fresh=not run.resumed):
        if comm.is_main_process():
            save_config(run.recipe, cfg.train.output_dir)
            if run.changed:  # what the run was started from is not what it is of any more
                for name in (MADE_FROM, RECIPE_DIGEST):
                    Path(cfg.train.output_dir, name).unlink(missing_ok=True)
            if started is not None:
                started()
        run.train(start)
        if comm.is_main_process():
            task = ShownMetrics.of(run.evaluator).task
            logger.info("finished\n%s", describe_end(cfg, run.trainer.iter, run.best, task))
    return run.results


class _Run:
    """One training run: all of its parts, built and connected by hooks."""

    def __init__(self, cfg: DictConfig, resume: bool = False) -> None:
        self.cfg, self.results = cfg, {}
        self.loaded: LoadReport | None = None
        self.best: BestWeights | None = None
        self.evaluated_after = 0  # iterations, the last time
        self.resumed = self.changed = False
        recipe = cfg.copy()  # later cfg holds data sets, which yaml cannot
        build_datasets(cfg)
        dataset = cfg.dataloader.train.dataset
        self.recipe = standalone(recipe, getattr(dataset, "classes", ()))
        self.recipe.train[STARTED_IN] = os.getcwd()
        cfg.model = self.recipe.model  # the classes of a large json are counted once
        built = build_model(cfg)
        # Training sees whole images of the loader, such as crops; evaluation sees them in tiles.
        self.model, self.tiles = untiled(built), built if isinstance(built, TiledDetector) else None
        check_ignore_regions(cfg, self.model)
        self.teacher = getattr(self.model, "teacher", None)
        if hasattr(dataset, "classes"):
            check_classes(self.model, dataset.classes)
            check_same_classes(dataset, cfg.dataloader.test.dataset)
        # Before a checkpoint or initial weights, which may have them as well.
        load_frozen_networks(self.model)
        if self.teacher is not None:
            key = "model.teacher.checkpoint"
            with naming_weights(key, OmegaConf.select(cfg, key)):
                check_teacher_fits(self.teacher, getattr(dataset, "classes", None))
            if self.teacher.cache is not None:
                self.teacher.cache.dataset_size = len(dataset)
        self.state = RunState(self.model, dataset_fingerprint(dataset))
        self.checkpointer = RunCheckpointer(self.model, cfg.train.output_dir, run=self.state)
        self.checkpointer.classes = list(getattr(dataset, "classes", []))
        self.checkpointer.category_ids = list(getattr(dataset, "category_ids", []))
        self.checkpointer.recipe = recipe_text(self.recipe)
        self.stages = self._stages(resume)
        self.state.stages = [(stage.name, stage.iterations) for stage in self.stages]
        # Built now, so that its errors come before the training, not after it.
        self.evaluator = build(cfg, "dataloader.evaluator")
        check_metric(cfg, self.evaluator)
        # As in Detectron2's lazyconfig_train_net.py: the parameter groups are made from the model.
        cfg.optimizer.params.model = self.model
        self.optimizer = build(cfg, "optimizer")
        del cfg.optimizer.params["model"]
        average = cfg.train.ema
        self.average = WeightAverage(self.model, average.decay) if average.enabled else None
        # The distributed wrapper comes last, when the taps have registered their forward hooks.
        self.wrapped = create_ddp_model(self.model, **self._ddp_arguments())
        share_loss_normalizers(self.model)
        self.mixed = training_precision(cfg, self.model)
        self.trainer = self._build_trainer()
        self.non_finite = NonFiniteStop(self.model, cfg.train.output_dir, cfg.train.seed)
        self.memory = OutOfMemoryReport()
        self.checkpointer.add_checkpointable("trainer", TrainerState(self.trainer, self.model))
        if self.average:
            self.checkpointer.add_checkpointable("ema", self.average.weights())
        # Before a checkpoint is loaded, which restores their states (the best metric so far).
        self.trainer.register_hooks(self._hooks())

    def _stages(self, resume: bool) -> list[Stage]:
        stages, max_iter = build(self.cfg, "train.stages"), self.cfg.train.max_iter
        found = self.checkpointer.find() if resume else None
        try:
            saved, start = found["run"], found["trainer"]["iteration"] + 1
        except (KeyError, TypeError):  # nothing to resume, or a file that loading will refuse
            return with_lengths(stages, max_iter)
        return lengths_after_resume(stages, max_iter, saved, start)

    def load(self, resume: bool, allow_partial: bool = False) -> int:
        """Load the last checkpoint or the initial weights; returns the first iteration to run."""
        start = 0
        if resume and self.checkpointer.resume():
            # A checkpoint has the last finished iteration.
            start = self.trainer.iter + 1
            if start > self.cfg.train.max_iter:
                raise ValueError(
                    f"{self.checkpointer.report.path} has done {start} iterations, but "
                    f"train.max_iter is {self.cfg.train.max_iter}: raise it, or choose "
                    f"{ELSEWHERE}"
                )
            self.loaded, self.resumed = self.checkpointer.report, True
            check_complete(self.loaded)
            logger.info("resumed at iteration %d from %s", start, self.loaded)
            self._log_changes()
        else:
            if resume:
                logger.warning(
                    "--resume: there is no checkpoint in %s, so the run starts at iteration 0",
                    self.cfg.train.output_dir,
                )
            self._load_initial_weights(allow_partial)
        self._open_loader(start)
        return start

    def check_first_batch(self) -> None:
        """Raise what is wrong with the images of the first iteration."""
        check = getattr(self.trainer.data_loader, "check_first_batch", None)
        if check is not None:  # a user's own loader may lack it
            check()

    def train(self, start: int) -> None:
        """Train to the end; before, open the files that are written along the way."""
        if comm.is_main_process():
            # Last: it writes what the other hooks have put into the event storage.
            self.trainer.register_hooks(
                [hooks.PeriodicWriter(self._writers(), period=self.cfg.train.log_period)]
            )
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.memory.explaining())
            stack.enter_context(self.non_finite.explaining())
            stack.enter_context(without_writers_tracebacks())
            stack.enter_context(as_in_a_new_process())
            stack.enter_context(contextlib.suppress(StoppedEarly))
            try:
                self.trainer.train(start, self.cfg.train.max_iter)
            except OSError as error:
                # The evaluation after a failed last checkpoint may fail of the same cause.
                first = _failed_checkpoint(error)
                if first is None or first is error:
                    raise
                raise first from error

    def _log_changes(self) -> None:
        """Name the settings that a resumed run takes from its recipe and did not have before."""
        changes = changed_settings(self.checkpointer.resumed_recipe, self.checkpointer.recipe)
        places = ("train.output_dir ", f"train.{STARTED_IN} ")
        changes = [change for change in changes if not change.startswith(places)]
        self.changed = bool(changes)
        if changes:
            logger.info("settings changed since that checkpoint: %s", "; ".join(changes))

    def _load_initial_weights(self, allow_partial: bool) -> None:
        if self.teacher is not None:
            check_teacher_accuracy(self.cfg, self.teacher, self.tiles)
        if self.cfg.train.student_from_teacher:
            self.loaded = start_from_teacher(self.model)
        elif self.cfg.train.init_checkpoint:
            path = self.cfg.train.init_checkpoint
            with naming_weights(INIT, path):
                self.loaded = load_weights(self.model, path)
            check_used(self.loaded, allow_partial)
        if self.average:
            self.average.restart()

    def _open_loader(self, start: int) -> None:
        loader = self.cfg.dataloader.train
        target = loader._target_
        function = locate(target) if isinstance(target, str) else target
        # A user's own loader may lack it, as Detectron2's does: its sampler has no start.
        if "start_iteration" in inspect.signature(function).parameters:
            OmegaConf.update(loader, "start_iteration", start, force_add=True)
        self.trainer.data_loader = build(self.cfg, "dataloader.train")

    def _ddp_arguments(self) -> dict[str, Any]:
        arguments = OmegaConf.to_container(self.cfg.train.ddp)
        if self.stages or isinstance(self.model, AnyFactorDetector):
            # All parameters that any stage trains are trainable when wrapped, since the ranks of
            # those unfrozen later would silently diverge; so a stage leaves some unused. And an
            # iteration of an any-factor detector leaves the norms of its other factors unused.
            arguments["find_unused_parameters"] = True
        device = next(self.model.parameters()).device
        # By default create_ddp_model passes the local rank, which DDP refuses for a CPU model.
        arguments["device_ids"] = None if device.type == "cpu" else [device]
        return arguments

    def _build_trainer(self) -> SimpleTrainer:
        # Upstream's AMPTrainer asserts CUDA; on a CPU the hook CPUAutocast does its work.
        kind = AMPTrainer if self.mixed == torch.float16 else SimpleTrainer
        # The loader is built later, when the first iteration to run is known.
        return kind(self.wrapped, [], self.optimizer)

    def _hooks(self) -> list[HookBase]:
        cfg, main = self.cfg.train, comm.is_main_process()
        multiplier = stage_multiplier(self.stages, build(self.cfg, "lr_multiplier"))
        if main and cfg.eval_period:
            self.best = BestWeights(cfg.eval_period, self.checkpointer, **cfg.best)
        evaluation: list[HookBase | None] = [
            hooks.EvalHook(cfg.eval_period, self._evaluate),
            self.best,  # after EvalHook, whose metric it reads
            DetectionImages(self.cfg, self._evaluated_model(), cfg.eval_period) if main else None,
        ]
        found: list[HookBase | None] = [
            # First: it corrects the iteration that the others read after training.
            LastIterationOnce(),
            # Before the hooks that begin an iteration, which it may call off.
            self._early_stopping(),
            hooks.IterationTimer(),
            SeedEachIteration(cfg.seed),
            StageSchedule(self.model, self.stages, self.state) if self.stages else None,
            DeadChannelWarning(self.model, cfg.eval_period),
            # Before NonFiniteStop, whose forward pre-hook records whether autocast is on.
            CPUAutocast() if self.mixed == torch.bfloat16 else None,
            self.memory,
            # Before GradientClipping, which unscales and clips the gradients that it checks.
            self.non_finite,
            GradientClipping(**cfg.clip_gradients.params) if cfg.clip_gradients.enabled else None,
            hooks.LRScheduler(scheduler=multiplier),
            # Before the checkpoints, whose average includes their own iteration.
            self.average,
            LoaderCounts(),
            # Before the evaluation: one that fails costs no training.
            PeriodicCheckpoints(self.checkpointer, **cfg.checkpointer) if main else None,
            *evaluation,
            MissedEvaluation(cfg.eval_period, evaluation),
        ]
        return [hook for hook in found if hook is not None]

    def _early_stopping(self) -> EarlyStopping | None:
        settings = self.cfg.train.get("early_stopping")  # a config.yaml of before lacks it
        if not settings or not settings.enabled:
            return None
        last_stage = sum(stage.iterations for stage in self.stages[:-1])
        return EarlyStopping(
            self.best, self.checkpointer, self.cfg.train.eval_period, settings.patience, last_stage
        )

    def _writers(self) -> list[Any]:
        folder, max_iter = self.cfg.train.output_dir, self.cfg.train.max_iter
        metrics = Path(folder, METRICS)
        return [
            ConsoleWriter(max_iter, shown=ShownMetrics.of(self.evaluator)),
            LastingWriter(JSONWriter(str(metrics)), metrics),
            # It begins a new file at each attempt.
            LastingWriter(TensorboardXWriter(folder), Path(folder, "events.out.*"), retries=False),
        ]

    def _evaluated_model(self) -> nn.Module:
        model = self.average.model if self.average else self.model
        return self.tiles.around(model) if self.tiles else model

    def _evaluate(self) -> dict[str, Any]:
        # After training the trainer's iteration is max_iter, before that the one just done.
        done = min(self.trainer.iter + 1, self.trainer.max_iter)
        # A run that stops early has just evaluated its last weights.
        if done != self.evaluated_after:
            started = time.perf_counter()
            # Up to here each process has batch-norm statistics of its own.
            share_buffers(self._evaluated_model())
            self.results = evaluate(self.cfg, self._evaluated_model(), self.evaluator, show=False)
            self.evaluated_after = done
            logger.info("evaluated in %.1f s", time.perf_counter() - started)
        if done == self.trainer.max_iter and self.results and hasattr(self.evaluator, "tables"):
            logger.info("%s", self.evaluator.tables())
        # The event storage takes numbers only; the metrics of an empty size range are None.
        return {
            task: {name: value for name, value in found.items() if value is not None}
            for task, found in self.results.items()
        }


def _failed_checkpoint(error: BaseException | None) -> CheckpointNotWrittenError | None:
    """The checkpoint that could not be written before an error was raised; None: they were."""
    while error is not None and not isinstance(error, CheckpointNotWrittenError):
        error = error.__context__
    return error
