"""``evaluation.json`` of a folder: metrics, and what they were measured on.

A run's folder has the results of what was evaluated into it last: the best weights instead of the
final ones, those of an iteration at which the run was stopped, another test set. A program that
shows a run's metrics or detections asks for those of the weights that it shows.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets import dataset_fingerprint
from lowres_d2.engine.identity import recipe_text
from lowres_d2.engine.run_folder import EVALUATION
from lowres_d2.evaluation.classification import CLASSIFICATIONS
from lowres_d2.evaluation.found_boxes import PREDICTIONS
from lowres_d2.evaluation.super_resolution.evaluator import SIMILARITIES
from lowres_d2.modeling.weights import COUNTER
from lowres_d2.own_files import own_path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

SUBJECT = "evaluated"
# What decides which boxes a model's weights give on a test set, and which of them count.
_SETTINGS = ("model", "dataloader.test.mapper", "dataloader.evaluator")


def subject_of(cfg: DictConfig, model: nn.Module) -> dict[str, str]:
    """What an evaluation of a model is of, as digests.

    Args:
        cfg: the recipe with its test set built.
        model: the recipe's model with its weights loaded, without a distributed wrapper.

    Returns:
        Digests of ``weights``, ``test_set`` and ``settings``; that of a data set of other
        libraries is empty. ``labelled_by``, where the test set has pseudo labels.
    """
    dataset = cfg.dataloader.test.dataset
    labelled_by = getattr(dataset, "labelled_by", "")
    return ({"labelled_by": labelled_by} if labelled_by else {}) | {
        "weights": _weights_digest(model),
        "test_set": dataset_fingerprint(dataset) if hasattr(dataset, "classes") else "",
        "settings": _settings_digest(cfg),
    }


def write_evaluation(
    folder: str | Path, results: Mapping[str, Any], subject: Mapping[str, str]
) -> None:
    """Write the results of an evaluation, whose predictions, if any, lie in the folder already.

    Raises:
        FileExistsError: there is such a file, and no run wrote it.
    """
    whole = {**results, SUBJECT: {**subject, "detections": _predictions_digest(folder)}}
    with own_path(Path(folder, EVALUATION)) as beside:
        beside.write_text(json.dumps(whole, indent=1), encoding="utf-8")


def read_evaluation(folder: str | Path, subject: Mapping[str, str]) -> dict[str, Any] | None:
    """The results in a folder, if its metrics and its predictions are of that subject.

    Args:
        folder: of a run or an evaluation.
        subject: result of :func:`subject_of`.

    Returns:
        The results; None: there are none, or they are of other weights, data or settings.
    """
    path = Path(folder, EVALUATION)
    if not path.is_file():
        return None
    results = json.loads(path.read_text(encoding="utf-8"))
    said = results.pop(SUBJECT, None)
    return results if said == {**subject, "detections": _predictions_digest(folder)} else None


def _weights_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name.endswith(COUNTER):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy())
    return digest.hexdigest()


def _settings_digest(cfg: DictConfig) -> str:
    nodes = {key: OmegaConf.select(cfg, key) for key in _SETTINGS}
    dataset = cfg.dataloader.test.dataset
    known = dataset if hasattr(dataset, "classes") else None  # has a digest of its own
    settings = {
        key: _without_objects(OmegaConf.to_container(node, resolve=True), known)
        for key, node in nodes.items()
        if OmegaConf.is_config(node)
    }
    text = recipe_text(OmegaConf.create(settings, flags={"allow_objects": True}))
    return hashlib.sha256(text.encode()).hexdigest()


def _without_objects(node: Any, known: Any) -> Any:
    """Objects by their classes, and nothing of the output folder and of the known test set.

    The same test set may be of several classes: read again, or with the classes of the weights.
    """
    if isinstance(node, dict):
        return {k: _without_objects(v, known) for k, v in node.items() if k != "output_dir"}
    if isinstance(node, list | tuple):
        return [_without_objects(value, known) for value in node]
    if node is None or node is known or isinstance(node, bool | int | float | str):
        return None if node is known else node
    return node if inspect.isclass(node) or inspect.isroutine(node) else type(node).__qualname__


def _predictions_digest(folder: str | Path) -> str:
    names = (PREDICTIONS, CLASSIFICATIONS, SIMILARITIES)
    return "".join(_file_digest(Path(folder, name)) for name in names)


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
