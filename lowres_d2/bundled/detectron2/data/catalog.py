"""Data sets by name: how to load each (DatasetCatalog), and facts about it (MetadataCatalog)."""

from __future__ import annotations

import difflib
import types
from collections import UserDict
from collections.abc import Callable
from typing import Any

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog"]


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3)
    return f"; nearest: {', '.join(close)}" if close else ""


class _DatasetCatalog(UserDict):
    """Data set name -> function that returns its list of dataset dicts."""

    def register(self, name: str, func: Callable[[], list[dict]]) -> None:
        """Give a data set a name.

        Args:
            name: the name, not in use yet.
            func: takes nothing and returns the dicts, the same ones at every call.
        """
        if not callable(func):  # AssertionErrors as upstream raises them
            raise AssertionError(f"data set {name!r}: register a function, not {func!r}")
        if name in self:
            raise AssertionError(
                f"data set {name!r} is registered already: choose another name, or "
                f"DatasetCatalog.remove({name!r}) first"
            )
        self[name] = func

    def get(self, name: str) -> list[dict]:
        """Load the data set of that name (every call loads it anew)."""
        if name not in self:
            raise KeyError(
                f"no data set is registered as {name!r}{_nearest(name, self.list())}; all: "
                f"{', '.join(self.list()) or 'none'}"
            )
        return self[name]()

    def list(self) -> list[str]:
        """Every registered name."""
        return list(self)

    def remove(self, name: str) -> None:
        """Forget a name."""
        self.pop(name)

    def __repr__(self) -> str:
        return f"DatasetCatalog(registered datasets: {', '.join(self)})"

    __str__ = __repr__


class Metadata(types.SimpleNamespace):
    """Facts about one data set, each written once: `thing_classes`, `json_file`, ...

    Writing the same value again is fine; another value is an error, since it means that two parts
    of a program disagree about the data.
    """

    name: str = "N/A"

    def __getattr__(self, key: str) -> Any:
        # Only called for what is not there.
        known = sorted(self.__dict__)
        raise AttributeError(
            f"metadata of {self.name!r} has no {key!r}{_nearest(key, known)}; it has: "
            f"{', '.join(known)}"
        )

    def __setattr__(self, key: str, value: Any) -> None:
        if key in self.__dict__ and self.__dict__[key] != value:
            # AssertionError as upstream raises it
            raise AssertionError(
                f"metadata of {self.name!r}: {key!r} is {self.__dict__[key]!r} and cannot become "
                f"{value!r}: it is set only once; MetadataCatalog.remove({self.name!r}) clears it"
            )
        super().__setattr__(key, value)

    def as_dict(self) -> dict[str, Any]:
        """A copy of all facts; changing it changes nothing here."""
        return dict(self.__dict__)

    def set(self, **kwargs: Any) -> Metadata:
        """Write several facts; returns itself."""
        for key, value in kwargs.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """The fact, or `default` where it is not known."""
        return self.__dict__.get(key, default)


class _MetadataCatalog(UserDict):
    """Data set name -> its Metadata, made on first use."""

    def get(self, name: str) -> Metadata:
        """The one Metadata of that name in this process."""
        if not name:
            raise AssertionError(f"a data set needs a name, got {name!r}")
        if name not in self:
            self[name] = Metadata(name=name)
        return self[name]

    def list(self) -> list[str]:
        """Every name that has metadata."""
        return list(self)

    def remove(self, name: str) -> None:
        """Forget what is known under a name."""
        self.pop(name)

    def __repr__(self) -> str:
        return f"MetadataCatalog(registered metadata: {', '.join(self)})"

    __str__ = __repr__


DatasetCatalog = _DatasetCatalog()
MetadataCatalog = _MetadataCatalog()
