"""Any network of timm that gives feature maps, as a Detectron2 backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.modeling import Backbone
from jaxtyping import Float
from torch import Tensor


class TimmBackbone(Backbone):
    """A network of timm by its name, up to the last of the requested feature maps.

    Its parameters keep timm's names below ``network``, so that timm's weights fit with
    ``?matching_heuristics=True``. timm does not cut some of its families (EfficientNet, MobileNet)
    behind a feature map: if that is not the last one, several processes need
    ``train.ddp.find_unused_parameters=True``.

    Args:
        name: name in timm, such as ``resnet18`` or ``convnext_atto``.
        out_features: feature maps that ``forward`` returns, by timm's names of the modules that
            end them, such as ``layer3``; None: the last one.
        in_channels: channels of the image.
        options: further arguments of ``timm.create_model``, such as ``img_size`` of a transformer.

    Raises:
        ValueError: timm has no such network, the network has no such feature map, or it gives none.
    """

    def __init__(
        self,
        name: str,
        out_features: Sequence[str] | None = None,
        in_channels: int = 3,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        arguments = dict(options or {}) | {"in_chans": in_channels}
        with torch.device("meta"):  # only its names are needed
            known = _create(name, **arguments).feature_info.module_name()
        self._out_features = list(known[-1:] if out_features is None else out_features)
        if not self._out_features or set(self._out_features) - set(known):
            raise ValueError(
                f"TimmBackbone: out_features={self._out_features}: expected some of "
                f"{', '.join(known)}, the feature maps of {name}"
            )
        self._out_features.sort(key=known.index)
        indices = [known.index(feature) for feature in self._out_features]
        self.network = _create(name, out_indices=indices, **arguments)
        for part in self.network.modules():
            # A run checks that every `num_classes` of its model is that of the data.
            if hasattr(part, "num_classes"):
                part.num_classes = None
        info = self.network.feature_info
        self._out_feature_channels = dict(zip(self._out_features, info.channels(), strict=True))
        self._out_feature_strides = dict(zip(self._out_features, info.reduction(), strict=True))

    def forward(self, x: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N _C _h _w"]]:
        """Feature maps of the names in ``out_features``, finest first."""
        return dict(zip(self._out_features, self.network(x), strict=True))


def _create(name: str, **arguments: Any) -> Any:
    # Imported here because importing timm takes longer than this package.
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"{name.split('_')[0]}*")[:5]
        hint = f"; it has {', '.join(near)}" if near else ""
        raise ValueError(f"TimmBackbone: timm has no network {name!r}{hint}")
    try:
        return timm.create_model(name, pretrained=False, features_only=True, **arguments)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"TimmBackbone: {name} gives no feature maps here ({reason})") from error
