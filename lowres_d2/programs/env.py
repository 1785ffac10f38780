"""Report versions, machine and Detectron2's provider, for bug reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import metadata

from lowres_d2 import __version__
from lowres_d2.programs.command import version
from lowres_d2.programs.command_lines.env import parse

from detectron2.utils.collect_env import collect_env_info
from tabulate import tabulate

DISTRIBUTION = "lowres-d2"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report."""
    parse(arguments)
    print(environment_report())


def environment_report() -> str:
    """Versions, machine, Detectron2's provider, and each required package beside its range."""
    return "\n".join(
        [
            version(),
            collect_env_info(),
            tabulate(_requirements(), ["required", "range", "installed"], disable_numparse=True),
        ]
    )


def _requirements() -> Iterator[tuple[str, str, str]]:
    try:
        wanted = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield DISTRIBUTION, f"=={__version__}", "not installed: pip install --editable ."
        return
    for requirement in wanted:
        if "extra ==" in requirement:
            continue
        name, version_range = re.fullmatch(r"([\w.-]+)\s*(.*)", requirement).groups()
        try:
            yield name, version_range, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, version_range, "MISSING"
