"""Names of weights in a composition, a plain detector, a classifier, and a moving average.

A composition has ``detector.*``, ``resampler.*`` and ``objectives.*``. A plain or zoo detector has
the names without ``detector.``. An ``ImageClassifier`` has ``backbone.*`` and its head; a detector
may have the same layers elsewhere, see ``PLACES``. A moving average has ``module.`` in front of all
names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")
PREFIX = "detector."
COUNTER = "num_batches_tracked"  # of batch norm; not a weight, and zoo files do not have it
BACKBONE, PREDICTOR = "backbone.", "classifier.weight"  # of an ImageClassifier
# Where detectors have the layers of a backbone. In an FPN it is the bottom-up network; the box head
# of a C4 detector is its last stage, either the blocks or a network with the backbone's names.
PLACES = (BACKBONE, f"{BACKBONE}bottom_up.", "roi_heads.", "roi_heads.res5.")


def route_detector_checkpoint(state_dict: Mapping[str, T], model: nn.Module) -> dict[str, T]:
    """Rename the weights of a plain detector or a composition so that they fit the model.

    Args:
        state_dict: weights of a plain detector, of a classifier, or of a composition of either.
        model: the model to load them into, a plain detector or a composition.

    Returns:
        The weights under the model's names. If the model is a plain detector, those of a resampler
        and of objectives are left out. Of a classifier only the backbone's are there, if the model
        is no classifier; those that have no place in it keep their names.
    """
    if beside_backbone(state_dict, model):
        return _backbone_state_dict(state_dict, model)
    bare = bare_detector_state_dict(state_dict)
    model_is_composed = any(name.startswith(PREFIX) for name in model.state_dict())
    if model_is_composed and not bare:
        return {PREFIX + name: value for name, value in state_dict.items()}
    if bare and not model_is_composed:
        return bare
    return dict(state_dict)  # both are of the same kind


def bare_detector_state_dict(state_dict: Mapping[str, T]) -> dict[str, T]:
    """The detector's weights in a composition, under the names of the plain detector."""
    return _below(PREFIX, state_dict)


def beside_backbone(state_dict: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Names of a classifier's weights that a detector leaves out: all but the backbone's.

    In a classifier the backbone may end in a head of its own, which is left out, too.

    Args:
        state_dict: weights of any model.
        model: the model to load them into.

    Returns:
        The names as in ``state_dict``; empty if it is not of a classifier, or the model is one.
    """
    for before in ("", PREFIX):
        kept = before + BACKBONE
        if before + PREDICTOR in state_dict and any(name.startswith(kept) for name in state_dict):
            own = {name.removeprefix(PREFIX) for name in model.state_dict()}
            if PREDICTOR in own:
                return []
            heads = [f".{head}" for head in _published_heads(model)]
            return [
                name
                for name in state_dict
                if not name.startswith(kept) or any(head in name for head in heads)
            ]
    return []


def beside_published(state_dict: Iterable[str], model: nn.Module) -> list[str]:
    """Names of published weights of a classifier that are of its head.

    A backbone whose library saves more than a class predictor behind it says so in
    ``published_head``, the beginnings of their names.

    Args:
        state_dict: names of the file's weights, as its library has them.
        model: the model to load them into.
    """
    return [name for name in state_dict if name.startswith(tuple(_published_heads(model)))]


def _published_heads(model: nn.Module) -> set[str]:
    return {head for m in model.modules() for head in getattr(m, "published_head", ())}


def layer_names(layers: Iterable[str], model: nn.Module) -> list[str]:
    """The model's names of tensors of a backbone; empty for one that has no place in it.

    Args:
        layers: names in the backbone, such as ``res2.0.conv1.weight``.
        model: a detector or classifier, or a composition of one.
    """
    own, modules = model.state_dict(), {name for name, _ in model.named_modules()}
    start = PREFIX if PREFIX.rstrip(".") in modules else ""
    names = []
    for layer in layers:
        # Its backbone may be an FPN as well.
        forms = dict.fromkeys((layer, layer.removeprefix("bottom_up.")))
        places = [f"{start}{place}{form}" for place in PLACES for form in forms]
        # A norm may have its tensors under other names in the model, and renames those of a file.
        fits = [p for p in places if p in own] or [p for p in places if _parent(p) in modules]
        names.append(fits[0] if fits else "")
    return names


def _backbone_state_dict(state_dict: Mapping[str, T], model: nn.Module) -> dict[str, T]:
    """The weights of a classifier's backbone, under the model's names."""
    left = set(beside_backbone(state_dict, model))
    kept = [name for name in state_dict if name not in left]
    layers = [name.removeprefix(PREFIX).removeprefix(BACKBONE) for name in kept]
    placed = zip(kept, layer_names(layers, model), strict=True)
    return {found or name: state_dict[name] for name, found in placed}


def averaged_weights(state: Mapping[str, T]) -> dict[str, T]:
    """The model's weights in the ``ema`` entry of a checkpoint."""
    return _below("module.", state)


def evaluated_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The weights that a run evaluated: the moving average if its checkpoint has one."""
    return averaged_weights(checkpoint["ema"]) if "ema" in checkpoint else checkpoint["model"]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _below(prefix: str, state_dict: Mapping[str, T]) -> dict[str, T]:
    return {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }
