"""Findings of the validation: what was found, how often, the first few places, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("error", "warning", "info")
KEPT_SUSPECTS = 24  # places kept per finding; nobody would look at more


@dataclass(frozen=True)
class Check:
    """Something that can be wrong.

    Attributes:
        name: short name for programs, such as ``box-invalid``.
        severity: ``error``: training or evaluation would stop or be silently wrong; ``warning``:
            probably a mistake; ``info``: good to know.
        what: what was found, in the plural.
        remedy: what to do.
    """

    name: str
    severity: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Suspect:
    """One place where something was found.

    Attributes:
        detail: what is wrong with this one.
        image_id: as in the file.
        annotation_id: as in the file.
        image: name of the image, as in the file.
        path: the image's file.
        box: XYWH in pixels of the image, as in the file.
    """

    detail: str = ""
    image_id: Any = None
    annotation_id: Any = None
    image: str | None = None
    path: str | None = None
    box: Any = None

    def __str__(self) -> str:
        named = {"annotation": self.annotation_id, "image": self.image_id}
        places = [f"{name} {value}" for name, value in named.items() if value is not None]
        if self.image is not None:
            places.append(str(self.image))
        place = ", ".join(places)
        return f"{place}: {self.detail}" if place and self.detail else place or self.detail


@dataclass
class Finding:
    """All places of one split at which one check failed."""

    check: Check
    split: str
    severity: str
    count: int = 0
    suspects: list[Suspect] = field(default_factory=list)

    def record(self) -> dict:
        """Plain values for a json file; NaN and infinities become strings."""
        return {
            "severity": self.severity,
            "check": self.check.name,
            "split": self.split,
            "count": self.count,
            "what": self.check.what,
            "remedy": self.check.remedy,
            "examples": [
                {
                    key: _plain(value)
                    for key, value in vars(suspect).items()
                    if value not in (None, "")
                }
                for suspect in self.suspects
            ],
        }


class Findings:
    """Findings by check and split, in the order in which they were added."""

    def __init__(self) -> None:
        self._found: dict[tuple, Finding] = {}

    def add(
        self, check: Check, split: str, suspect: Suspect | str, severity: str | None = None
    ) -> None:
        """Add one place.

        Args:
            check: the check that failed there.
            split: name of the split.
            suspect: the place, or just a text.
            severity: overrides the check's own; None: the check's.
        """
        severity = severity or check.severity
        key = (check.name, split, severity)
        finding = self._found.setdefault(key, Finding(check, split, severity))
        finding.count += 1
        if len(finding.suspects) < KEPT_SUSPECTS:
            finding.suspects.append(Suspect(suspect) if isinstance(suspect, str) else suspect)

    def __iter__(self) -> Iterator[Finding]:
        """All findings, most severe first."""
        yield from sorted(self._found.values(), key=lambda f: SEVERITIES.index(f.severity))

    def count(self, severity: str) -> int:
        """Number of findings of a severity (not of their places)."""
        return sum(finding.severity == severity for finding in self._found.values())


def _plain(value: Any) -> Any:
    """Numbers, strings and lists of them as they are; NaN, infinities and the rest as strings."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
