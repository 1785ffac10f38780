"""Stop a run at the first NaN or infinite loss or gradient, and report where it came from.

The check runs between the backward pass and ``optimizer.step``, so that checkpoints stay finite.
The batch and all that its iteration depends on are saved to
``<output_dir>/non_finite_<iteration>.pth``, which can be read without executing anything in it;
``lowres-d2 replay`` runs it again.
"""

from __future__ import annotations

import contextlib
import math
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.atomic import atomic_path
from lowres_d2.engine.hooks.batch_files import image_name, pack_batch
from lowres_d2.modeling import LowResDetector
from lowres_d2.saved_configs import CONFIG

import torch
from detectron2.engine import HookBase
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils import comm
from torch import Tensor, nn

REMEDY = "lower optimizer.lr, set train.clip_gradients.enabled=true, or correct the boxes"
WITHOUT_BOXES = "lower optimizer.lr or set train.clip_gradients.enabled=true"
NAMED = 16  # images of a batch in the message
# Loss scaling skips steps whose gradients overflow and halves its scale. After this many in a row
# (2^16 down to 2^-8) the scale is not the cause.
SKIPPED_STEPS = 24
# Iterations before the failing one: that many in the message, that many in the file.
SHOWN, KEPT = 5, 100


class NonFiniteError(FloatingPointError):
    """A loss or gradient is NaN or infinite; the message is one line."""


class NonFiniteStop(HookBase):
    """Checks every loss term and the norm of the gradients, with one transfer from the device.

    Register it before hooks that change gradients.

    Args:
        model: the model without its distributed wrapper.
        output_dir: folder that the batch is saved to.
        seed: seed of the run.
    """

    def __init__(self, model: nn.Module, output_dir: str | Path, seed: int) -> None:
        self._model, self._folder, self._seed = model, Path(output_dir), seed
        self._parameters = list(model.parameters())  # once: walking through all modules takes time
        self._dense = {n: m for n, m in model.named_modules() if isinstance(m, DenseDetector)}
        self._normalizers: dict[str, float] = {}
        self._batch: Sequence[Mapping[str, Any]] = ()
        self._losses: Mapping[str, Tensor] = {}
        self._history: deque[dict[str, float]] = deque(maxlen=KEPT)
        self._observers: list[Any] = []
        self._in_step = self._mixed = False

    def before_train(self) -> None:
        called = self._loop.model
        self._observers = [
            called.register_forward_pre_hook(self._see_batch),
            called.register_forward_hook(self._see_losses),
        ]

    def after_train(self) -> None:
        for observer in self._observers:
            observer.remove()

    def before_step(self) -> None:
        self._in_step = True
        # The forward pass updates this running average, which every loss is divided by.
        self._normalizers = {
            name: float(module.loss_normalizer)
            for name, module in self._dense.items()
            if hasattr(module, "loss_normalizer")
        }

    def after_step(self) -> None:
        self._in_step = False

    def after_backward(self) -> None:
        # SimpleTrainer checks its losses after this hook, and knows neither images nor boxes.
        losses = self._losses
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = _norm(gradients)
        scalars = [*losses.values(), norm]
        *values, norm = torch.stack([x.detach().float().to(norm.device) for x in scalars]).tolist()
        scaler = getattr(self._loop, "grad_scaler", None)
        scaled = scaler is not None and scaler.is_enabled()
        if scaled:
            norm /= scaler.get_scale()
        row = dict(zip(losses, values, strict=True)) | {"gradient_norm": norm}
        row |= {"iteration": self.trainer.iter, "total_loss": sum(values)}
        self._history.append(row)
        for term in losses:
            if not math.isfinite(row[term]):
                self._stop(term, f"{term} is {row[term]}")
        if not math.isfinite(norm) and (not scaled or self._skipped_too_often()):
            self._stop("gradient", f"the losses are finite, but the gradient norm is {norm}")

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Stop in the same way if the forward pass in training raises because of such values.

        That is any FloatingPointError, and an AssertionError with non-finite values in its frames
        (fvcore's box losses assert that x1 <= x2 and y1 <= y2).

        Raises:
            NonFiniteError: in place of that error.
        """
        try:
            yield
        except NonFiniteError:
            raise
        except (FloatingPointError, AssertionError) as error:
            if not self._in_step:  # raised by an evaluation
                raise
            if isinstance(error, AssertionError) and not _has_non_finite_frames(error):
                raise
            self._stop("forward", " ".join(str(error).split()).rstrip(".") or "a failed assertion")

    @property
    def _loop(self) -> Any:
        return getattr(self.trainer, "_trainer", self.trainer)

    def _see_batch(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._batch, self._losses = arguments[0], {}
        self._mixed = torch.is_autocast_enabled(self._parameters[0].device.type)

    def _see_losses(self, _: nn.Module, __: Any, output: Any) -> None:
        self._losses = {"total_loss": output} if isinstance(output, Tensor) else output

    def _skipped_too_often(self) -> bool:
        last = list(self._history)[-SKIPPED_STEPS:]
        return len(last) == SKIPPED_STEPS and not any(
            math.isfinite(row["gradient_norm"]) for row in last
        )

    def _stop(self, term: str, what: str) -> None:
        raise NonFiniteError(
            f"{what} in iteration {self.trainer.iter}, on {_images(self._batch)}"
            f"{_smallest_box(self._batch)}{self._culprit(term)}{self._before()}; "
            f"{self._leave_batch(term)}; "
            f"{WITHOUT_BOXES if _is_labelled(self._batch) else REMEDY}"
        )

    def _culprit(self, term: str) -> str:
        """The first parameter that was non-finite before, or the first non-finite gradient."""
        bad = None
        for name, parameter in self._model.named_parameters():
            if not parameter.isfinite().all():
                return f"; the parameter {name} was non-finite before this iteration"
            if term == "gradient" and parameter.grad is not None and bad is None:
                bad = None if parameter.grad.isfinite().all() else name
        return f"; the first non-finite gradient is that of {bad}" if bad else ""

    def _before(self) -> str:
        if len(self._history) < 2:
            return ""
        # The last entry is the failing iteration itself.
        rows = list(self._history)[-SHOWN - 1 : -1]
        return "".join(
            f"; previous {words}: " + ", ".join(f"{row[key]:.4g}" for row in rows)
            for words, key in (("total losses", "total_loss"), ("gradient norms", "gradient_norm"))
        )

    def _leave_batch(self, term: str) -> str:
        iteration, rank = self.trainer.iter, comm.get_rank()
        # Each process has a batch of its own, and several may stop at once.
        suffix = f"_rank{rank}" if rank else ""
        path = self._folder / f"non_finite_{iteration:07d}{suffix}.pth"
        composition = self._model if isinstance(self._model, LowResDetector) else None
        contents = {
            "model": self._model.state_dict(),
            "batch": pack_batch(self._batch),
            "term": term,
            "iteration": iteration,
            "rank": rank,
            "seed": self._seed,
            "mixed_precision": self._mixed,
            "loss_normalizer": self._normalizers,
            "eval_modules": [n for n, m in self._model.named_modules() if not m.training],
            "active_losses": list(composition.loss_terms.active) if composition else [],
            "history": list(self._history),
        }
        try:
            # Through a Python file, whose errors carry the system's reason; torch's own do not.
            with atomic_path(path) as beside, beside.open("wb") as file:
                torch.save(contents, file)
        except OSError as error:
            return f"the batch could not be saved as {path} ({error.strerror})"
        config = self._folder / CONFIG
        return f"to examine the batch, run lowres-d2 replay {path} --config-file {config}"


def all_finite(value: Any) -> bool:
    """Whether every tensor in nested containers, boxes and instances is finite."""
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    if isinstance(value, Boxes | ImageList):
        return all_finite(value.tensor)
    if isinstance(value, Instances):
        return all_finite(value.get_fields())
    if isinstance(value, Mapping):
        return all(map(all_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(all_finite, value))
    return True


def _has_non_finite_frames(error: BaseException) -> bool:
    """Whether a local variable of the functions in an error's traceback is non-finite."""
    frames = traceback.walk_tb(error.__traceback__)
    return not all(all_finite(dict(frame.f_locals)) for frame, _ in frames)


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """Norm over all gradients; on a GPU in one launch, not one per parameter."""
    if not gradients:
        return torch.zeros(())
    return torch.stack(torch._foreach_norm(gradients)).norm()


def _images(batch: Sequence[Mapping[str, Any]]) -> str:
    names = [image_name(k, sample) for k, sample in enumerate(batch[:NAMED])]
    more = len(batch) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _is_labelled(batch: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these are images of a classification set, which have no boxes."""
    return any("label" in sample for sample in batch)


def _smallest_box(batch: Sequence[Mapping[str, Any]]) -> str:
    """The smallest box, in the frame of the loader's images, before any downsampling."""
    found = []
    for k, sample in enumerate(batch):
        boxes = getattr(sample.get("instances"), "gt_boxes", ())
        if len(boxes):
            sides = boxes.tensor[:, 2:] - boxes.tensor[:, :2]
            # A NaN box counts as the smallest.
            size, index = sides.prod(dim=1).nan_to_num(nan=-math.inf).min(dim=0)
            found.append((size.item(), sides[index].tolist(), image_name(k, sample)))
    if not found:
        return "" if _is_labelled(batch) else "; no boxes"
    _, (width, height), name = min(found)
    return f"; smallest box {width:.4g} x {height:.4g} pixels, in {name}"
