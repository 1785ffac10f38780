"""Stand-ins for classes and functions whose dependency is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def create_dummy_class(klass: str, dependency: str, message: str = "") -> type:
    """A class of that name; using it raises ImportError.

    Args:
        klass: name.
        dependency: package that is missing.
        message: added to the error.
    """
    complain = create_dummy_func(klass, dependency, message)

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            if name.startswith("__"):
                return super().__getattribute__(name)
            complain()

        def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
            complain()

    return Meta(klass, (), {})


def create_dummy_func(
    func: str, dependency: str | list[str] | tuple[str, ...], message: str = ""
) -> Callable[..., NoReturn]:
    """A function of that name; calling it raises ImportError.

    Args:
        func: name.
        dependency: package or packages that are missing.
        message: added to the error.
    """
    packages = dependency if isinstance(dependency, str) else ", ".join(dependency)

    def dummy(*args: Any, **kwargs: Any) -> NoReturn:
        raise ImportError(f"{func} needs {packages}, which cannot be imported. {message}".rstrip())

    dummy.__name__ = func
    return dummy
