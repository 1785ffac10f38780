"""Files by path or address: plain paths, http(s), and detectron2:// for the model zoo."""

from __future__ import annotations

from typing import Any

from detectron2._uncovered import needs_upstream
from iopath.common.file_io import HTTPURLHandler, OneDrivePathHandler, PathHandler
from iopath.common.file_io import PathManager as PathManagerBase

__all__ = ["PathHandler", "PathManager"]

PathManager = PathManagerBase()
"""The path manager of this project; files from the net are cached in $FVCORE_CACHE."""


class Detectron2Handler(PathHandler):
    """detectron2://NAME is a file of Detectron2's download site."""

    PREFIX = "detectron2://"
    S3_DETECTRON2_PREFIX = "https://dl.fbaipublicfiles.com/detectron2/"

    def _get_supported_prefixes(self) -> list[str]:
        return [self.PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        address = self.S3_DETECTRON2_PREFIX + path.removeprefix(self.PREFIX)
        return PathManager.get_local_path(address, force=force, **kwargs)

    def _open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        return PathManager.open(self._get_local_path(path), mode, **kwargs)


class _CatalogHandler(PathHandler):
    """catalog://NAME, a file of Detectron's first version: refused, not taken for a folder."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["catalog://"]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        needs_upstream(f"{path} (Detectron2's own weights are at detectron2://NAME.pkl)")

    def _open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        return self._get_local_path(path)


for _handler in (HTTPURLHandler(), OneDrivePathHandler(), Detectron2Handler(), _CatalogHandler()):
    PathManager.register_handler(_handler)
