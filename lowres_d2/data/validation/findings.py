"""What the validation of a data set found: what, how often, the first few places, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("error", "warning", "info")
KEPT_SUSPECTS = 24  # of a finding; more would not be looked at


@dataclass(frozen=True)
class Check:
    """Something that can be wrong.

    Attributes:
        name: for programs, as ``box-outside``.
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
        """As plain values, for json; what JSON has no number for is written out."""
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
    """Findings by check and split, in the order in which they came."""

    def __init__(self) -> None:
        self._found: dict[tuple, Finding] = {}

    def add(
        self, check: Check, split: str, suspect: Suspect | str, severity: str | None = None
    ) -> None:
        """Count a place.

        Args:
            check: what failed there.
            split: in which part of the data.
            suspect: the place, or just words.
            severity: where it is another than the check's own.
        """
        severity = severity or check.severity
        key = (check.name, split, severity)
        finding = self._found.setdefault(key, Finding(check, split, severity))
        finding.count += 1
        if len(finding.suspects) < KEPT_SUSPECTS:
            finding.suspects.append(Suspect(suspect) if isinstance(suspect, str) else suspect)

    def __iter__(self) -> Iterator[Finding]:
        """Worst first."""
        yield from sorted(self._found.values(), key=lambda f: SEVERITIES.index(f.severity))

    def count(self, severity: str) -> int:
        """Number of findings (not of their places)."""
        return sum(finding.severity == severity for finding in self._found.values())


def _plain(value: Any) -> Any:
    """Numbers, texts and lists of them as they are; the rest, and NaN, as text."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
