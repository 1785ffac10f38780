"""Sheets of classified images: a column for each image, a row for each classifier.

The first row has the stored images with their true classes; each further one the pixels that a
classifier receives, framed by whether it is right, with the class that it takes the image for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.analysis.figures.drawing import PAPER, Color, look
from lowres_d2.analysis.figures.sheets import (
    GAP,
    SHEET,
    captions,
    join,
    legend,
    row,
    save_sheet,
    stack,
    text_block,
)
from lowres_d2.analysis.figures.training_data import detector_inputs, resampled_title
from lowres_d2.analysis.figures.views import (
    Seen,
    View,
    degradation_of,
    shown_channels,
    stored_view,
)
from lowres_d2.data.datasets.sample import even_indices
from lowres_d2.evaluation.classified import NOT_SHOWN, Classified
from lowres_d2.fonts import drawable_names

import numpy as np
from PIL import Image, ImageOps
from torch import nn

RIGHT: Color = (0, 205, 90)
WRONG: Color = (255, 45, 85)
IMAGES = 8  # in a row
_SIDE, _FRAME, _TITLE, _TEXT = 144, 5, 190, 14
_LEGEND = [("right class", RIGHT), ("wrong class", WRONG)]


@dataclass(frozen=True)
class Classifier:
    """One row of each group.

    Attributes:
        title: its heading.
        predicted: of all images.
        view: what the network received of an image.
    """

    title: str
    predicted: Classified
    view: View


@dataclass(frozen=True)
class Group:
    """Images of one kind.

    Attributes:
        title: what they show, and how many there are.
        chosen: their indices in the data set.
    """

    title: str
    chosen: Sequence[int]


def even_group(number_of_images: int, images: int = IMAGES) -> Group:
    """Images that are chosen independently of the predictions."""
    chosen = even_indices(number_of_images, images)
    return Group(f"{len(chosen)} of {number_of_images} images, evenly spread", chosen)


def disagreements(classifiers: Sequence[Classifier], images: int = IMAGES) -> Group:
    """Images that some classifiers are right about and others not."""
    right = np.array([one.predicted.right for one in classifiers])
    return _group("some are right and some are wrong", right.any(0) & ~right.all(0), images)


def choose_cases(
    classifiers: Sequence[Classifier],
    ours: str,
    baseline: str | None,
    reference: str | None,
    images: int = IMAGES,
) -> list[Group]:
    """Images on which a method differs from a baseline, and those where all fail.

    Args:
        classifiers: with their predictions.
        ours: title of the method.
        baseline: title of what it is compared with; None: of the method alone.
        reference: title of the full-resolution classifier, if there is one.
        images: number of images of each kind, at most.

    Raises:
        KeyError: no classifier has such a title.
    """
    right = {one.title: one.predicted.right for one in classifiers}
    if baseline is None:
        cases = {f"{ours} is wrong": ~right[ours], f"{ours} is right": right[ours]}
        return [_group(title, which, images) for title, which in cases.items()]
    for title in (ours, baseline, reference):
        if title is not None and title not in right:
            raise KeyError(f"no classifier {title!r}: there are {', '.join(right)}")
    wishes = {
        f"{ours} is right, {baseline} wrong": right[ours] & ~right[baseline],
        f"{ours} is wrong, {baseline} right": ~right[ours] & right[baseline],
    }
    if reference not in (None, baseline, ours):
        wishes[f"{ours} is wrong, {reference} right"] = ~right[ours] & right[reference]
    wishes["all are wrong"] = ~np.any(list(right.values()), axis=0)
    return [_group(title, which, images) for title, which in wishes.items()]


def write_classified(
    path: str | Path,
    dataset: Sequence[Mapping],
    classifiers: Sequence[Classifier],
    classes: Sequence[str],
    groups: Sequence[Group],
    stored: View = stored_view,
) -> Path:
    """Draw groups of images with what each classifier takes them for.

    Args:
        path: PNG to write.
        dataset: that the predictions are of.
        classifiers: rows.
        classes: names in the order of the labels.
        groups: of images.
        stored: the image in the first row.

    Returns:
        The path.
    """
    classes = drawable_names(classes)
    lines = [legend(_LEGEND, SHEET)]
    for group in groups:
        lines.append(text_block(group.title, SHEET, 17))
        for start in range(0, len(group.chosen), IMAGES):
            chosen = group.chosen[start : start + IMAGES]
            entries = [dataset[k] for k in chosen]
            names = [classes[entry["label"]] for entry in entries]
            lines.append(_row("stored, true class", [stored(entry) for entry in entries], names))
            lines += [_predictions(one, chosen, entries, classes) for one in classifiers]
    return save_sheet(stack(lines), path)


def write_labelled_training(
    path: str | Path,
    samples: Sequence[Mapping],
    stored: Sequence[Seen],
    model: nn.Module,
    classes: Sequence[str],
    image_format: str | None = "RGB",
) -> Path:
    """Draw training images with their classes: stored, augmented, and after the resampler.

    Args:
        path: PNG to write.
        samples: of the training loader, with ``image`` and ``label``.
        stored: the same images before their augmentation.
        model: a composition, or a plain classifier, which has no resampler.
        classes: names in the order of the labels.
        image_format: order of the samples' channels.

    Returns:
        The path.
    """
    names = [drawable_names(classes)[sample["label"]] for sample in samples]
    inputs = [detector_inputs(model, dict(sample)) for sample in samples]
    titles = ["stored", "augmented", *resampled_title(model)]
    rows = [stored]
    for k, of in enumerate(zip(*inputs, strict=True)):
        degradation = degradation_of(model) if k else 1.0  # the first ones are the mapper's
        rows.append([Seen(_shown(x, image_format), 1.0, 1.0, degradation) for x in of])
    lines = []
    for start in range(0, len(samples), IMAGES):
        part = slice(start, start + IMAGES)
        for title, seen in zip(titles, rows, strict=True):
            texts = names[part] if seen is stored else [one.size for one in seen[part]]
            lines.append(_row(title, seen[part], texts))
    return save_sheet(stack(lines), path)


def _shown(sample: Mapping, image_format: str | None) -> np.ndarray:
    return shown_channels(sample["image"].float() / 255, image_format)


def _group(title: str, which: np.ndarray, images: int) -> Group:
    found = np.flatnonzero(which)
    chosen = [int(found[k]) for k in even_indices(len(found), images)]
    more = "; some of them, evenly spread:" if len(found) > len(chosen) else ""
    return Group(f"{title}: {len(found)} of {len(which)} images{more}", chosen)


def _predictions(
    one: Classifier, chosen: Sequence[int], entries: Sequence[Mapping], classes: Sequence[str]
) -> Image.Image:
    found, texts = one.predicted, []
    for k in chosen:
        label = found.predicted[k]
        known = label != NOT_SHOWN
        texts.append(f"{classes[label]} {found.scores[k]:.2f}" if known else "not classified")
    colors = [RIGHT if found.right[k] else WRONG for k in chosen]
    return _row(one.title, [one.view(entry) for entry in entries], texts, colors)


def _row(
    title: str,
    seen: Sequence[Seen],
    texts: Sequence[str],
    colors: Sequence[Color] | None = None,
) -> Image.Image:
    """A row: its title, then images with a text below each."""
    frames = colors or [PAPER] * len(texts)
    images = [_framed(one, color) for one, color in zip(seen, frames, strict=True)]
    cells = [
        join([image, caption], GAP // 2, across=False)
        for image, caption in zip(images, captions(texts, _SIDE, _TEXT), strict=True)
    ]
    return row([text_block(title, _TITLE, 16), *cells])


def _framed(seen: Seen, color: Color) -> Image.Image:
    """An image in a square, whatever its proportions."""
    height, width = seen.values.shape[:2]
    inner = _SIDE - 2 * _FRAME
    scale = inner / max(height, width)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    image = look(seen.pixels, 1.0, (0.0, 0.0, float(width), float(height)), size)
    framed = ImageOps.expand(image, border=_FRAME, fill=color)
    square = Image.new("RGB", (_SIDE, _SIDE), PAPER)
    square.paste(framed, (0, 0))
    return square
