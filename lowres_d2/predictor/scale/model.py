"""A trained model as something to send to other processes and machines: they load it themselves."""

from __future__ import annotations

import copy
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from lowres_d2.engine.identity import Identity, recipe_text
from lowres_d2.own_files import content_digest
from lowres_d2.predictor.loading import predictor_of
from lowres_d2.predictor.predictor import Predictor

from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True)
class Model:
    """A model by its weights, whose file all processes can read, and its recipe.

    Attributes:
        identity: of the weights, with the whole recipe.
        recipe_digest: of the recipe without what training alone reads, such as the device.
        weights_digest: SHA-256 of the file.
    """

    identity: Identity
    recipe_digest: str
    weights_digest: str

    @classmethod
    def of(cls, cfg: DictConfig, identity: Identity) -> Model:
        """What :func:`lowres_d2.engine.identity.recipe_of` has found."""
        weights = identity.weights
        local = os.path.exists(weights)
        weights = os.path.abspath(weights) if local else weights
        apart = copy.deepcopy(cfg)
        _blank(apart.train)
        apart.train.ema.enabled = cfg.train.ema.enabled  # which weights are loaded
        return cls(
            replace(identity, weights=weights, recipe=recipe_text(cfg)),
            hashlib.sha256(recipe_text(apart).encode()).hexdigest(),
            content_digest(Path(weights)) if local else weights,
        )

    def load(self, device: str) -> Predictor:
        """The predictor.

        Args:
            device: such as "cpu" or "cuda:1".
        """
        cfg = self.identity.load_recipe([f"train.device={device}"])
        return predictor_of(cfg, self.identity)


def _blank(section: DictConfig) -> None:
    """Set all values to None; the keys stay, since other sections may refer to them."""
    for key in section:
        if OmegaConf.is_interpolation(section, key) or not OmegaConf.is_dict(section[key]):
            section[key] = None
        else:
            _blank(section[key])
