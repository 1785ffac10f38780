"""lowres_d2: detection when pixels are few, on Detectron2's grammar.

Importing this package decides which Detectron2 runs: an installed upstream one, else the core that
is bundled in ``lowres_d2/bundled``. Import it before anything that imports ``detectron2``.
"""

import warnings

from lowres_d2._provider import choose_provider, detectron2_provider

__version__ = "0.1.0"
__all__ = ["__version__", "detectron2_provider"]

# fvcore scripts its losses at import, which newer torch tells every user to stop doing.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
choose_provider()
