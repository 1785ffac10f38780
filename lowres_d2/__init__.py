"""lowres_d2: detection when pixels are few, on Detectron2's grammar.

Importing this package decides which Detectron2 runs: an installed upstream one, else the core that
is bundled in ``lowres_d2/bundled``. Import it before anything that imports ``detectron2``.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowres_d2._provider import choose_provider, detectron2_provider

if TYPE_CHECKING:
    from lowres_d2.predictor import load
    from lowres_d2.quick_models import models

__version__ = "0.1.0"
__all__ = ["__version__", "detectron2_provider", "load", "models"]

# fvcore scripts its losses at import, which newer torch tells every user to stop doing.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
# `python -m lowres_d2` and the scripts, which import the package before they can catch an error.
_STARTED = ("-m", "lowres-d2", "lowres-d2.exe", "train_net.py", "demo.py")
_STARTED += ("prepare_tt100k.py", "prepare_dota.py", "prepare_tinyperson.py")
_STARTED += ("prepare_visdrone.py", "prepare_widerface.py", "prepare_seadronessee.py")
try:
    choose_provider()
except (ImportError, ValueError) as error:
    if Path(*sys.argv[:1]).name not in _STARTED or os.environ.get("LOWRES_D2_TRACEBACK"):
        raise
    raise SystemExit(f"error: {error}") from None


def __getattr__(name: str) -> Any:
    # On demand: torch and the rest take seconds to import, and choosing the provider needs none.
    if name == "load":
        from lowres_d2.predictor import load

        return load
    if name == "models":
        from lowres_d2.quick_models import models

        return models
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
