"""A detector whose network is run by an engine, with its own preparation and post-processing."""

from __future__ import annotations

import copy

from lowres_d2.deploy.int8.engines import Network
from lowres_d2.deploy.int8.folding import check_dense

from jaxtyping import Float
from torch import Tensor, nn


def with_network(detector: nn.Module, network: Network) -> nn.Module:
    """The same detector, in evaluation mode, with a network in place of its backbone and head.

    Args:
        detector: FCOS or RetinaNet; is not changed.
        network: normalised image to the predictions of all levels, kind by kind, as
            :class:`~lowres_d2.deploy.int8.DenseNetwork` has them.

    Raises:
        ValueError: the detector is another one.
    """
    check_dense(detector)
    twin = copy.copy(detector)
    twin._modules = dict(detector._modules)
    twin.backbone = _Backbone(detector, network)
    twin.head = _Head()
    return twin.eval()


class _Backbone(nn.Module):
    """Runs the network; its feature maps have the sizes of the levels, all that is needed.

    The first of them holds the predictions.
    """

    def __init__(self, detector: nn.Module, network: Network) -> None:
        super().__init__()
        self.size_divisibility = detector.backbone.size_divisibility
        self.padding_constraints = getattr(detector.backbone, "padding_constraints", {})
        self.names = list(detector.head_in_features)
        self.network = network

    def forward(self, image: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N _ h w"]]:
        found, levels = list(self.network(image)), len(self.names)
        predictions = [found[i : i + levels] for i in range(0, len(found), levels)]
        # They travel with what the head gets: kept here, another thread would take them.
        first, *others = predictions[0]
        first = first.view_as(first)
        first.predictions = predictions
        return dict(zip(self.names, [first, *others], strict=True))


class _Head(nn.Module):
    def forward(self, features: list[Tensor]) -> list[list[Tensor]]:
        return features[0].predictions
