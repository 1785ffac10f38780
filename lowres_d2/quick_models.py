"""Quick models: small trained detectors that are part of the package.

Each is one ``.safetensors`` file in ``lowres_d2/quick``: weights, class names, recipe, and a card
that says where it comes from. ``lowres-d2 make-models`` makes them. They were trained on generated
plates in minutes, and know nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lowres_d2.file_notes import read_notes
from lowres_d2.near_names import listed, near
from lowres_d2.said_cost import OPS, cost

CARD = "card"  # key of a card in what a file says beside its tensors
FOLDER = Path(__file__).with_name("quick")
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Card:
    """Where a quick model comes from, and what it can do.

    Attributes:
        summary: what it is.
        knows: what it was trained on.
        factor: pixels of the image in one of those that the network sees, along each side.
        parameters: their number.
        macs: multiply-accumulates of one image of ``macs_size``.
        ops: the same in OPs (``lowres_d2.said_cost``); of real-valued models the MACs.
        macs_size: height and width of that image.
        ap: AP in percent of these very weights on ``measured_on``.
        ap_by_size: AP by name of the size range, which is in pixels.
        ap_trained: AP of the run's weights, before they were stored in fewer bits.
        measured_on: a data set.
        stored: how the weights are stored.
        recipe: its file.
        command: makes it again.
        seed: of the training.
        iterations: of the training.
        commit: of this project's code that trained it.
        licence: of the weights, an SPDX identifier.
    """

    summary: str
    knows: str
    factor: str
    parameters: int
    macs: float
    ops: float
    macs_size: tuple[int, int]
    ap: float
    ap_by_size: Mapping[str, float | None]
    ap_trained: float
    measured_on: str
    stored: str
    recipe: str
    command: str
    seed: int
    iterations: int
    commit: str
    licence: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Card:
        """The card of a file, in which :meth:`record` was written."""
        # Those of real-valued models may leave out the OPs.
        whole = {"ops": record["macs"], **record, "macs_size": tuple(record["macs_size"])}
        return cls(**whole)

    @property
    def few_bits(self) -> bool:
        """Whether OPs are fewer than MACs."""
        return self.ops < self.macs

    def record(self) -> dict[str, Any]:
        """All entries, for json."""
        return asdict(self)


@dataclass(frozen=True)
class QuickModel:
    """A quick model; ``lowres_d2.load(NAME)`` loads it.

    Attributes:
        name: by which it is loaded.
        file: its weights.
        size: of the file, in bytes.
        card: where it comes from.
    """

    name: str
    file: Path
    size: int
    card: Card

    def __str__(self) -> str:
        """The card, an entry a line."""
        card = self.card
        height, width = card.macs_size
        sizes = ", ".join(
            f"{name} {'no objects' if ap is None else f'{ap:.1f}'}"
            for name, ap in card.ap_by_size.items()
        )
        rows = {
            "what": card.summary,
            "knows": f"{card.knows}, and nothing else",
            "factor": card.factor,
            "parameters": f"{card.parameters:,}",
            "cost": f"{cost(card.macs, card.ops)} for an image of {height}x{width}",
            "AP": f"{card.ap:.1f} on {card.measured_on}",
            "AP by size, px": sizes,
            "stored": f"{card.stored}, {self.size / 1e6:.2f} MB; AP {card.ap_trained:.1f} before",
            "recipe": card.recipe,
            "training": f"{card.iterations:,} iterations, seed {card.seed}, commit {card.commit}",
            "command": card.command,
            "licence": card.licence,
        }
        if card.few_bits:
            rows["OPs"] = OPS.removeprefix("OPs are ")
        return "\n".join([self.name, *(f"  {key:16}{value}" for key, value in rows.items())])


class QuickModels(Mapping[str, QuickModel]):
    """Quick models by name; printed, a table."""

    def __init__(self, found: Mapping[str, QuickModel]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> QuickModel:
        if name not in self._found:
            raise KeyError(f"no quick model {name!r}{near(str(name), self) or listed([*self])}")
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        from tabulate import tabulate

        if not self:
            return "no quick models"
        head = ["name", "what", "knows", "factor", "parameters", "cost", "AP", "MB"]
        rows = [
            [
                model.name,
                model.card.summary,
                model.card.knows,
                model.card.factor,
                f"{model.card.parameters:,}",
                cost(model.card.macs, model.card.ops),
                f"{model.card.ap:.1f}",
                f"{model.size / 1e6:.2f}",
            ]
            for model in self.values()
        ]
        sides = ["left"] * 3 + ["right"] * 5
        table = tabulate(rows, head, disable_numparse=True, colalign=sides)
        return f"{table}\n{OPS}" if any(m.card.few_bits for m in self.values()) else table


def models() -> QuickModels:
    """The quick models: small trained detectors that ``lowres_d2.load(NAME)`` loads.

    Only what their files say of themselves is read.
    """
    found = {}
    for file in sorted(FOLDER.glob(f"*{SUFFIX}")):
        card = Card.of(read_notes(file)[CARD])
        found[file.stem] = QuickModel(file.stem, file, file.stat().st_size, card)
    return QuickModels(found)


def quick_names() -> list[str]:
    """Names of the quick models; no file is opened."""
    return sorted(file.stem for file in FOLDER.glob(f"*{SUFFIX}"))


def quick_file(name: str | Path) -> Path | None:
    """The file of a quick model; None: none has this name."""
    file = FOLDER / f"{name}{SUFFIX}"
    return file if re.fullmatch(r"\w+", str(name)) and file.is_file() else None
