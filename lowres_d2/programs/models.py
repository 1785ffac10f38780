"""List the quick models of the package, or show the card of one.

They are small detectors of generated plates, which programs and lowres_d2.load take by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.near_names import near
from lowres_d2.programs.command_lines.models import parse
from lowres_d2.quick_models import models


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or the card; exits with 1 where there is no such model."""
    args = parse(arguments)
    found = models()
    if args.name is None:
        print(found)
        return
    if args.name not in found:
        raise SystemExit(f"error: no quick model {args.name!r}{near(args.name, found)}")
    print(found[args.name])
