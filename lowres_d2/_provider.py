"""Choose the Detectron2 to run: the installed upstream one, or the bundled core.

The environment variable ``LOWRES_D2_PROVIDER`` (``auto``, ``upstream`` or ``bundled``) chooses, for
child processes too. ``auto`` prefers an installed upstream; no installed file is ever changed.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from pathlib import Path

VARIABLE = "LOWRES_D2_PROVIDER"
BUNDLED_ROOT = Path(__file__).parent / "bundled"

# Names that this project uses and old or reduced upstreams lack, by file below detectron2/. The 0.6
# release and today's main branch have the same version number, so only the files can tell.
NEEDED_OF_UPSTREAM = {
    "config/lazy.py": ("LazyCall", "LazyConfig"),
    "layers/losses.py": ("ciou_loss", "diou_loss"),
    "layers/wrappers.py": ("move_device_like",),
    "modeling/meta_arch/dense_detector.py": ("DenseDetector",),
    "modeling/meta_arch/fcos.py": ("FCOS", "FCOSHead", "_match_anchors", "compute_ctrness_targets"),
    "engine/train_loop.py": ("after_backward",),
    "engine/hooks.py": ("BestCheckpointer", "TorchProfiler"),
}

_provider: str | None = None


def choose_provider() -> str:
    """Make ``import detectron2`` find the right package; called once, on ``import lowres_d2``.

    Returns:
        ``"upstream"`` or ``"bundled"``.

    Raises:
        ValueError: the environment variable has another value.
        ImportError: upstream was asked for and is not installed or lacks what this project uses,
            or another ``detectron2`` was imported before this package.
    """
    global _provider
    if _provider is not None:
        return _provider
    wish = os.environ.get(VARIABLE, "auto")
    if wish not in ("auto", "upstream", "bundled"):
        raise ValueError(f"{VARIABLE}={wish!r}: expected auto, upstream or bundled")
    upstream = _find_upstream()
    if wish == "upstream" and upstream is None:
        raise ImportError(
            f"{VARIABLE}=upstream, but no Detectron2 is installed here: install it, or unset "
            f"{VARIABLE} to use the bundled core"
        )
    if wish == "bundled" or upstream is None:
        _refuse_a_loaded_upstream()
        # First if `bundled` was asked for; last in `auto`, so that an upstream which a later path
        # entry brings in still wins.
        position = 0 if wish == "bundled" else len(sys.path)
        sys.path.insert(position, str(BUNDLED_ROOT))
        _provider = "bundled"
    else:
        _require(upstream)
        _provider = "upstream"
    return _provider


def detectron2_provider() -> str:
    """Which Detectron2 this process runs on: ``"upstream"`` or ``"bundled"``."""
    return choose_provider()


def _find_upstream() -> Path | None:
    """Folder of an installed upstream ``detectron2``, or None.

    A folder of that name without ``__init__.py`` (a checkout in the working directory) is a
    namespace package without origin and does not count; nor does the bundled core.
    """
    for finder in sys.meta_path:
        # Finders of the old protocol (PEP 302) have no find_spec.
        spec = finder.find_spec("detectron2", None) if hasattr(finder, "find_spec") else None
        if isinstance(spec, importlib.machinery.ModuleSpec) and spec.origin:
            folder = Path(spec.origin).parent
            if folder.resolve() != (BUNDLED_ROOT / "detectron2").resolve():
                return folder
    return None


def _refuse_a_loaded_upstream() -> None:
    loaded = sys.modules.get("detectron2")
    origin = getattr(loaded, "__file__", None)
    if origin and BUNDLED_ROOT.resolve() not in Path(origin).resolve().parents:
        raise ImportError(
            f"detectron2 was already imported from {origin}: write `import lowres_d2` before it"
        )


def _require(folder: Path) -> None:
    lacking = []
    for file, names in NEEDED_OF_UPSTREAM.items():
        path = folder / file
        # As text: importing a part would load the package before the choice is made.
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        lacking += [f"{file}:{name}" for name in names if name not in text]
    if lacking:
        raise ImportError(
            f"the Detectron2 in {folder} lacks {', '.join(lacking)}: install a newer one, or set "
            f"{VARIABLE}=bundled"
        )
