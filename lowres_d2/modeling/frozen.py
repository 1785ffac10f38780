"""Networks that another run has trained and that a model uses frozen, such as a super-resolver."""

from __future__ import annotations

import logging
from dataclasses import replace

from lowres_d2.modeling.weights import LoadReport, load_weights

from torch import nn

logger = logging.getLogger(__name__)


def load_frozen(
    network: nn.Module, checkpoint: str | None, what: str, key: str, part: str = ""
) -> LoadReport | None:
    """Load all weights of such a network.

    Args:
        network: it.
        checkpoint: folder or file of the run that trained it; None: the network stays as built.
        what: what it is to the model, for messages.
        key: key of the checkpoint in the recipe, for messages.
        part: name that the network has in the run's model; "": it is the run's detector.

    Returns:
        How they matched, without what else the run had; None where the network stays as built.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the checkpoint is empty, or it has not all of the network's weights, or more.
    """
    name = type(network).__name__
    if checkpoint == "":
        raise ValueError(
            f"the {what} ({name}) has no weights: set {key}=FOLDER of a run that trained it, or "
            "null to use the network as built"
        )
    if checkpoint is None:
        return None
    model = nn.ModuleDict({part: network}) if part else network
    try:
        report = load_weights(model, checkpoint, complete=True, use_average=True)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"the {what} {name} ({key}): {error}") from error
    more = [key for key in report.unexpected if key.startswith(f"{part}." if part else "")]
    if more:
        raise ValueError(
            f"the {what} {name} ({key}): {report.path} has {len(more)} more tensors, such as "
            f"{more[0]}: give the network the arguments that it was trained with"
        )
    logger.info("%s: %s", what, report)
    return replace(report, unexpected=[])
