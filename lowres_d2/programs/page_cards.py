"""How the web page shows what a detector made of an image: two pictures and a caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from lowres_d2.analysis.figures.comparison_sheets import draw_objects
from lowres_d2.analysis.figures.drawing import Panel, class_colors
from lowres_d2.fonts import drawable_names
from lowres_d2.programs.page_detectors import Found
from lowres_d2.said_cost import OPS, cost

from PIL import Image

LINE, TEXT = 3, 19  # of boxes and their labels, in pixels of the pictures
MOST_LABELS = 20  # with more boxes, their labels would hide the image
# Names of resamplers in words; of others the class's name is shown.
RESAMPLERS = {
    "AnyFactor": "a learned downsampler for each factor",
    "Bicubic": "bicubic interpolation",
    "DownUp": "interpolation",
    "LearnedDownsampler": "a learned downsampler",
}


def draw(found: Found, score: float) -> Image.Image:
    """The image with the boxes of these scores and higher ones."""
    panel = Panel(found.image.copy(), found.window, LINE, TEXT)
    objects = found.objects[found.objects.scores >= score]
    names = drawable_names(found.classes) if len(objects) <= MOST_LABELS else None
    draw_objects(panel, objects, class_colors(len(found.classes)), names, scores=True)
    return panel.image


def caption(found: Found, score: float) -> str:
    """What the pictures show, in HTML.

    Args:
        found: what the detector made of the image.
        score: lowest of the detections that are shown.
    """
    labels = found.objects.labels[found.objects.scores >= score]
    numbers = (_objects(len(labels)), f"{found.milliseconds:.3g} ms", cost(found.macs, found.ops))
    cells = "".join(f"<b>{number}</b> " for number in numbers)
    lines = [_what_it_sees(found), _by_class(found.classes, labels)]
    if found.ops < found.macs:
        lines.append(OPS)
    return f'<p class="numbers">{cells}</p>' + "".join(f"<p>{escape(line)}</p>" for line in lines)


def _objects(number: int) -> str:
    return f"{number} object{'s' if number != 1 else ''}"


def _what_it_sees(found: Found) -> str:
    seen = f"The detector sees {found.sees}"
    whole = tuple(round(side * found.factor / found.enlarged) for side in found.seen_size)
    resized = "" if _about(whole, found.image_size, found.factor) else " resized and"
    if found.factor == 1:
        return f"{seen}: the image{resized.removesuffix(' and') or ' itself'}."
    made = RESAMPLERS.get(found.resampler, found.resampler)
    return f"{seen}: the image{resized} downsampled {found.factor}x by {made}."


def _about(a: Sequence[int], b: Sequence[int], factor: float) -> bool:
    """Whether two sizes differ by less than the rounding of a thumbnail's."""
    return all(abs(x - y) < factor for x, y in zip(a, b, strict=True))


def _by_class(classes: Sequence[str], labels: Sequence[int]) -> str:
    counts = Counter(classes[label] for label in labels)
    if not counts:
        return "It finds nothing of this score or higher."
    return "It finds " + ", ".join(f"{count} x {name}" for name, count in counts.most_common())
