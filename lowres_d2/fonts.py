"""Fonts that have the letters of a text: DejaVu Sans, which matplotlib ships, else a font of the
machine, for class names in Chinese, Japanese, Korean or Thai, say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

# Of the machine's fonts, those that look like DejaVu Sans come first.
_LIKED, _DISLIKED = ("sans", "gothic", "hei"), ("italic", "oblique", "mono")
# They have a box, or nothing, for every letter.
_WITHOUT_LETTERS = ("lastresort", "blank")


def font_for(text: str, size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """A font for a text, DejaVu Sans where no font has all of its letters.

    Args:
        text: to be written.
        size: in pixels.
        bold: of the machine's other fonts, one that is not bold may be taken.
    """
    return _open(_find(_letters(text.replace("\n", "")), bold) or _default(bold), size)


def is_drawable(text: str) -> bool:
    """Whether a font of this machine has all letters of a line of text."""
    return _find(_letters(text), False) is not None


def drawable_names(classes: Sequence[str]) -> list[str]:
    """Class names for labels in images; where no font has the letters, ``class`` and the number."""
    return [name if is_drawable(name) else f"class {k}" for k, name in enumerate(classes)]


def drawable_text(text: str, bold: bool = False) -> str:
    """A line of text; letters that its font lacks, control characters among them, as escapes.

    Args:
        text: the name of a run, say.
        bold: as for :func:`font_for`.
    """
    if _find(_letters(text), bold) is not None:
        return text
    there = _letters_of(_default(bold))
    return "".join(c if ord(c) in there else _escape(c) for c in text)


@contextlib.contextmanager
def plot_fonts(texts: Iterable[str]) -> Iterator[None]:
    """In this context new figures of matplotlib have the letters of some texts, where a font does.

    Args:
        texts: names of classes or runs, say.
    """
    from matplotlib import rc_context
    from matplotlib.font_manager import FontProperties, fontManager

    families = [FontProperties(fname=_default(False)).get_name()]
    for path in dict.fromkeys(path for text in texts for path in _plot_fonts_of(text)):
        if path != _default(False):
            fontManager.addfont(path)
            families.append(FontProperties(fname=path).get_name())
    with rc_context({"font.family": families}):
        yield


def plot_text(text: str) -> str:
    """A line of text that matplotlib prints as it is: no formula, and no letter without a font."""
    # Labels that begin with an underscore are left out of legends.
    shown = f" {text}" if text.startswith("_") else text
    return "".join(c if is_drawable(c) else _escape(c) for c in shown).replace("$", r"\$")


def _plot_fonts_of(text: str) -> list[str]:
    """One font that has all letters, else one for each: matplotlib takes several for a text."""
    whole = _find(_letters(text), False)
    found = [whole] if whole else [_find(_letters(letter), False) for letter in text]
    return [path for path in found if path is not None]


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _letters(text: str) -> frozenset[int]:
    return frozenset(map(ord, text))


@lru_cache(maxsize=4096)
def _find(letters: frozenset[int], bold: bool) -> str | None:
    if letters <= _letters_of(_default(bold)):
        return _default(bold)
    return next((path for path in _others(bold) if letters <= _letters_of(path)), None)


@lru_cache
def _others(bold: bool) -> tuple[str, ...]:
    # Not matplotlib's own list, which it keeps from an earlier time.
    from matplotlib.font_manager import findSystemFonts

    def rank(path: str) -> tuple:
        name = Path(path).stem.lower()
        return (
            any(word in name for word in _DISLIKED),
            ("bold" in name) != bold,
            not any(word in name for word in _LIKED),
            name,
        )

    found = sorted(findSystemFonts(), key=rank)
    return tuple(p for p in found if not any(w in Path(p).stem.lower() for w in _WITHOUT_LETTERS))


@lru_cache
def _letters_of(path: str) -> frozenset[int]:
    """Letters that a font can draw at any size; none of a font that cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache
def _default(bold: bool) -> str:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", name))


@lru_cache(maxsize=256)
def _open(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
