"""Load weights from a file into a model, with a report of what matched.

Runs, evaluation and teachers all load weights here, with the bundled and the installed Detectron2.
Files are read by ``lowres_d2.weight_files``, which executes nothing in them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowres_d2.modeling.channels import refit_channels
from lowres_d2.modeling.checkpoint_keys import (
    COUNTER,
    beside_backbone,
    beside_published,
    evaluated_state_dict,
    route_detector_checkpoint,
)
from lowres_d2.modeling.run_weights import weights_file
from lowres_d2.modeling.tiles import untiled
from lowres_d2.modeling.torchvision_keys import AUTHOR, resnet_names
from lowres_d2.weight_files import read_weight_file, split_query

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.file_io import PathManager
from torch import Tensor, nn


@dataclass
class LoadReport:
    """How the tensors of a file matched those of a model.

    Attributes:
        path: the file, as requested.
        total: number of tensors of the model.
        missing: tensors of the model that are not in the file.
        unexpected: tensors of the file that are not in the model.
        misshapen: tensors of the model that have another shape in the file.
        refitted: first convolutions of the model that take other channels than in the file, see
            :func:`lowres_d2.modeling.channels.refit_channels`; each with the number of the file.
        of_file: number of tensors of the file, without the next.
        beside_backbone: what a detector leaves out of a classifier's tensors.
        renamed: number of the file's tensors that had torchvision's names.
        torchvision: whether they are of torchvision's ResNets, or of timm's, which have the same
            names.
        classes: names of the classes that the file's model predicts; empty if the file has none.
        category_ids: ids of these in the annotation file of the training data; empty if the file
            has none.
        other_outputs: whether the file has all tensors, and those of another shape differ in their
            outputs alone, as those of other classes do.
        iterations: number that the file's run had finished; None if the file does not say.
        recipe: text of the ``config.yaml`` that the file's run had; empty if the file has none.
    """

    path: str
    total: int
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    refitted: list[str] = field(default_factory=list)
    of_file: int = 0
    beside_backbone: list[str] = field(default_factory=list)
    renamed: int = 0
    torchvision: bool = False
    classes: list[str] = field(default_factory=list)
    category_ids: list[int] = field(default_factory=list)
    other_outputs: bool = False
    iterations: int | None = None
    recipe: str = ""

    @property
    def matched(self) -> int:
        """Number of tensors of the model that were loaded from the file."""
        return self.total - len(self.missing) - len(self.misshapen)

    def __str__(self) -> str:
        text = f"{self.path}: {self.matched} of {self.total} tensors of the model loaded"
        if self.renamed:
            text += f"; {self.renamed} renamed from torchvision's ResNet"
        for words, names in (
            ("refitted to the image's channels", self.refitted),
            ("not in the file", self.missing),
            ("of another shape", self.misshapen),
            ("of the file unused", self.unexpected),
            ("beside a classifier's backbone left out", self.beside_backbone),
        ):
            if names:
                text += f"; {len(names)} {words} ({_first_few(names)})"
        return text


def _first_few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Contents of a weight file, read onto the CPU without executing anything in it.

    Args:
        path: a file, a run's folder (see :func:`~lowres_d2.modeling.run_weights.weights_file`), or
            a ``detectron2://`` or ``https://`` address, which is downloaded once; followed by
            ``?matching_heuristics=True`` if its names lack prefixes of the model's.

    Returns:
        See :func:`lowres_d2.weight_files.read_weight_file`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, or the address cannot be reached.
    """
    address, heuristics = split_query(weights_file(path))
    if "://" in address:
        try:
            address = PathManager.get_local_path(address)
        except Exception as error:  # network libraries raise many types
            reason = str(error).split("\n")[0] or type(error).__name__
            raise ValueError(
                f"{address} cannot be fetched ({reason}): check address and network, or give a file"
            ) from error
    checkpoint = read_weight_file(address)
    return checkpoint | {"matching_heuristics": True} if heuristics else checkpoint


def fill_model(
    model: nn.Module,
    checkpoint: dict[str, Any],
    path: str | Path,
    use_average: bool = False,
    refit: bool = False,
) -> LoadReport:
    """Set the tensors of a model from a checkpoint where names and shapes match.

    Args:
        model: a detector or a composition; it accepts weights of either, and the backbone's of a
            classifier, also under the names of torchvision's ResNets.
        checkpoint: result of :func:`read_checkpoint`.
        path: the checkpoint's file, for messages.
        use_average: use the moving average of the weights if the checkpoint has one.
        refit: fit first convolutions to images of other channels than the file's.

    Raises:
        ValueError: names cannot be matched to the model's, the file is a packed one, or weights
            are not finite.
    """
    if "packed" in checkpoint:
        raise ValueError(f"{path} is packed, which is for use alone: give the weights it is of")
    model = untiled(model)  # its weights are the detector's
    checkpointer = DetectionCheckpointer(model, save_to_disk=False)
    try:
        named, found = _set_tensors(checkpointer, checkpoint, use_average)
    except Exception as error:  # names of a file from elsewhere can make the matching raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"{path} does not fit the model ({reason}): give weights of this very model"
        ) from error
    misshapen = [entry[0] for entry in found.incorrect_shapes]
    not_loaded = dict.fromkeys([*misshapen, *found.missing_keys]) if refit else ()
    refitted = refit_channels(checkpointer.model, named.weights, not_loaded)
    broken = [n for n, p in checkpointer.model.named_parameters() if not p.isfinite().all()]
    if broken:
        raise ValueError(
            f"{path} has non-finite weights ({_first_few(broken)}): its run has diverged, use an "
            "earlier checkpoint"
        )
    misshapen = [name for name in misshapen if name not in refitted]
    # What a classifier tells apart is a matter of its head.
    classes = [] if named.left else checkpoint.get("classes", [])
    iteration, recipe = checkpoint.get("iteration"), checkpoint.get("recipe")
    ids = checkpoint.get("category_ids", [])
    return LoadReport(
        path=str(path),
        total=sum(not name.endswith(COUNTER) for name in checkpointer.model.state_dict()),
        # Detectron2 drops tensors of another shape from the file's and lists them as missing too.
        missing=[
            n
            for n in found.missing_keys
            if not (n in misshapen or n in refitted or n.endswith(COUNTER))
        ],
        unexpected=[n for n in found.unexpected_keys if n not in refitted.values()],
        misshapen=misshapen,
        refitted=[
            f"{name} from {named.weights[key].shape[1]} channels" for name, key in refitted.items()
        ],
        of_file=len(named.weights),
        beside_backbone=named.left,
        renamed=named.renamed,
        torchvision=named.torchvision or checkpoint.get("__author__") == AUTHOR,
        classes=[str(name) for name in classes] if isinstance(classes, list) else [],
        category_ids=[k for k in ids if isinstance(k, int)] if isinstance(ids, list) else [],
        other_outputs=_differs_in_outputs(found, misshapen),
        # Detectron2 stores the index of the last finished iteration.
        iterations=iteration + 1 if isinstance(iteration, int) else None,
        recipe=recipe if isinstance(recipe, str) else "",
    )


def _differs_in_outputs(found: Any, misshapen: Collection[str]) -> bool:
    """Whether all that was not set are tensors whose number of outputs alone is another."""
    missing = {name for name in found.missing_keys if not name.endswith(COUNTER)}
    others_fit = all(ours[1:] == theirs[1:] for _, theirs, ours in found.incorrect_shapes)
    return missing <= {*misshapen} and others_fit


def _set_tensors(
    checkpointer: DetectionCheckpointer, checkpoint: dict[str, Any], use_average: bool
) -> tuple[_Named, Any]:
    """Set those that have a place; the names they have, and fvcore's account of all others."""
    weights = evaluated_state_dict(checkpoint) if use_average else checkpoint["model"]
    named = _named_as_in(checkpointer.model, weights, checkpoint.get("matching_heuristics", False))
    kind = {
        "__author__": checkpoint.get("__author__"),
        "matching_heuristics": named.by_heuristics,
    }
    # Not its public `load`, which reads the file itself and may execute what is in it. A copy of
    # the dict, because tensors of another shape are removed from it.
    return named, checkpointer._load_model({"model": dict(named.weights), **kind})


@dataclass(frozen=True)
class _Named:
    """A file's tensors under names of a model.

    Attributes:
        weights: the tensors that can have a place in it.
        left: names in the file of those that stay out, such as a classifier's head.
        renamed: number of tensors whose name changed.
        torchvision: whether the file's names are those of torchvision's ResNets.
        by_heuristics: whether the checkpointer still has to match suffixes of names.
    """

    weights: Mapping[str, Tensor]
    left: list[str]
    renamed: int = 0
    torchvision: bool = False
    by_heuristics: bool = False


def _named_as_in(model: nn.Module, weights: Mapping[str, Tensor], heuristics: bool) -> _Named:
    renamed = resnet_names(weights, model)
    if renamed:
        left = [n for n in weights if n not in renamed and not n.endswith(COUNTER)]
        found = {name: weights[old] for old, name in renamed.items()}
        return _Named(found, left, sum(a != b for a, b in renamed.items()), torchvision=True)
    if heuristics:
        left = set(beside_published(weights, model))
        kept = {name: tensor for name, tensor in weights.items() if name not in left}
        return _Named(kept, sorted(left), by_heuristics=True)
    return _Named(route_detector_checkpoint(weights, model), beside_backbone(weights, model))


def load_weights(
    model: nn.Module, path: str | Path, complete: bool = False, use_average: bool = False
) -> LoadReport:
    """Load weights into a model: a run's checkpoint, a bare detector's, or a Detectron2 zoo file.

    Args:
        model: a detector, or a :class:`LowResDetector`, whose ``detector`` then receives a bare
            detector's weights. Of an ``ImageClassifier``'s, and of torchvision's or timm's ResNets,
            it takes those of the backbone.
        path: a file or address, see :func:`read_checkpoint`.
        complete: require every tensor of the model to be in the file.
        use_average: use the moving average of the weights if the file has one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, no tensor matches, or ``complete`` is set and some do not.
    """
    path = weights_file(path)  # for the report
    report = fill_model(model, read_checkpoint(path), path, use_average, refit=not complete)
    if report.matched == 0:
        classifier = (
            f"{report.path}: the backbone of this classifier is not the model's, give a classifier "
            "whose backbone has the model's class and arguments: "
            f"{str(report).removeprefix(f'{report.path}: ')}"
        )
        other = f"{report}: these weights belong to another model"
        raise ValueError(classifier if report.beside_backbone else other)
    if complete and report.matched < report.total:
        known = {getattr(module, "num_classes", None) for module in model.modules()} - {None}
        if report.classes and report.other_outputs and known != {len(report.classes)}:
            raise ValueError(
                f"{report.path}: {len(report.classes)} classes in the weights, "
                f"{', '.join(map(str, known))} in the data: give weights of the data's classes"
            )
        raise ValueError(f"{report}: all of them are needed; check that recipe and weights match")
    return report
