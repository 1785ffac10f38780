"""The web page itself, in gradio: upload, examples, sliders, and a card for each detector."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import lcm
from pathlib import Path
from typing import Any

from lowres_d2.data.image import UnfitImageError
from lowres_d2.programs.mistakes import one_line
from lowres_d2.programs.page_cards import caption, draw
from lowres_d2.programs.page_detectors import LEAST_SCORE, Found, PageDetector
from lowres_d2.programs.page_upload import MAX_BYTES, notes_on, quick_copy

import gradio as gr

_logger = logging.getLogger(__name__)
TITLE = "lowres_d2: detection when pixels are few"
INTRO = (
    "Each card is one detector on the same image. *What it sees* are the pixels that its network "
    "gets, each enlarged to a square; *what it finds* are its boxes on the image. The time is that "
    "of this machine for downsampling, network and boxes, without reading the file. MACs are the "
    "multiply-accumulates for this image."
)
SCORE = 0.5  # at the start: the demo's
# The machine's fonts: a page must not load anything from elsewhere.
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
CSS = """
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(520px, 100%), 1fr)); }
.card { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 12px; }
.card h3, p { margin: 0 0 4px; }
.card { gap: 8px; }
.card .column { gap: 2px; }
.html-container { padding: 0; }
.card .numbers b { display: inline-block; margin-right: 1.5em; font-size: 1.1em; }
.wrong { color: var(--error-icon-color); font-weight: 600; }
"""
Updates = list[Any]  # the new value of each of some components
Result = Found | str  # or why there is none
Results = dict[int, Result]  # by number of the detector


@dataclass
class Asked:
    """What a visitor has asked for, shared by all events of one session.

    Attributes:
        number: of images so far; only the last of them is wanted.
        shown: number of the last one that was begun.
    """

    number: int = 0
    shown: int = -1


Wish = tuple[str, int]  # file of an image, and its number among those that were asked for


class Page:
    """Detectors on the images of a page.

    Args:
        detectors: in the order of their cards.
        examples: image files.
    """

    def __init__(self, detectors: Sequence[PageDetector], examples: Sequence[str]) -> None:
        self.detectors, self.examples = detectors, examples

    def first(self, asked: Asked, score: float, factor: float) -> Iterator[Updates]:
        """Show the first example."""
        yield from self.wanted((self.examples[0], 0), asked, score, factor)

    def example(self, asked: Asked, event: gr.SelectData) -> Wish:
        """Ask for the example that was clicked."""
        return self.ask(self.examples[event.index], asked)

    def ask(self, path: str, asked: Asked) -> Wish:
        """Ask for an image; that of an earlier one ends with the detector that it is at."""
        asked.number += 1
        return path, asked.number

    def wanted(self, wish: Wish, asked: Asked, score: float, factor: float) -> Iterator[Updates]:
        """:meth:`show` an image until another one is asked for."""
        path, number = wish
        # Of two that were dropped while detectors ran, the last one would be shown twice.
        if number != asked.shown:
            asked.shown = number
            yield from self.show(path, score, factor, lambda: asked.number == number)

    def show(
        self,
        path: str,
        score: float,
        factor: float,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Iterator[Updates]:
        """Run all detectors on an image, and show each one's card when it is done.

        Args:
            path: the image file.
            score: lowest of the detections that are shown.
            factor: of any-factor detectors.
            is_wanted: asked before each detector; without it, no further one runs.

        Yields:
            The path, results, status, and the cards.
        """
        if not is_wanted():
            return
        name = Path(path).name
        try:
            notes = notes_on(path)
        except UnfitImageError as error:
            yield [path, {}, wrong(f"{name}: {error.fault}"), *self.cards({}, score)]
            return
        results: Results = {}
        started = said(f"{name}: 0 of {len(self.detectors)} detectors")
        yield [path, {}, started, *self.cards({}, score)]
        with quick_copy(path) as (file, copied):
            for number, detector in enumerate(self.detectors):
                results[number] = _result(detector, file, factor)
                if not is_wanted():
                    return
                status = f"{name}: {number + 1} of {len(self.detectors)} detectors"
                cards = [gr.skip()] * (3 * len(self.detectors))
                cards[3 * number : 3 * number + 3] = card(results[number], score)
                yield [path, results, said(status), *cards]
        faults = [result for result in results.values() if isinstance(result, str)]
        if len(faults) == len(results):
            yield [path, {}, wrong(faults[0]), *self.cards({}, score)]
            return
        size = next(result.image_size for result in results.values() if isinstance(result, Found))
        notes = filter(None, [copied, *notes])
        status = " ".join([f"{name}, {size[1]} x {size[0]} pixels.", *notes])
        yield [path, results, said(status), *[gr.skip()] * (3 * len(self.detectors))]

    def at_factor(self, path: str, results: Results, score: float, factor: float) -> Updates:
        """Run any-factor detectors again.

        Returns:
            Results, and the cards.
        """
        with quick_copy(path) as (file, _):
            for number in results:
                if self.detectors[number].factors:
                    results[number] = _result(self.detectors[number], file, factor)
        return [results, *self.cards(results, score)]

    def cards(self, results: Results, score: float) -> Updates:
        """Values of all cards; those of detectors without a result are empty."""
        numbers = range(len(self.detectors))
        return [value for number in numbers for value in card(results.get(number, ""), score)]


def card(result: Result, score: float) -> Updates:
    """What a detector's card shows: what it sees, what it finds, and its caption."""
    if isinstance(result, str):
        return [None, None, wrong(result)]
    return [result.seen, draw(result, score), caption(result, score)]


def _result(detector: PageDetector, path: str, factor: float) -> Result:
    try:
        return detector.find(path, factor)
    except (ValueError, OSError) as error:
        return one_line(error).replace(path, Path(path).name)
    # A hostile file can make a library raise anything, and nothing of it belongs on the page.
    except Exception as error:
        _logger.exception("%s on %s", detector.title, path)
        failed = f"{detector.title} failed with a {type(error).__name__}"
        return f"{Path(path).name}: {failed}; the terminal of the page has more"


def said(text: str) -> str:
    """A line of text in HTML."""
    return f"<p>{escape(text)}</p>"


def wrong(text: str) -> str:
    """A line of what is wrong in HTML."""
    return f'<p class="wrong">{escape(text)}</p>' if text else ""


def make_page(detectors: Sequence[PageDetector], examples: Sequence[str]) -> gr.Blocks:
    """The page.

    Args:
        detectors: in the order of their cards.
        examples: image files; the first one is shown when the page opens.
    """
    page = Page(detectors, examples)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRO}")
        with gr.Row():
            with gr.Column(min_width=320):
                gr.HTML("<p>Your image</p>")
                upload = gr.File(show_label=False, height=130)
            with gr.Column(min_width=320):
                gr.HTML("<p>Examples, generated; click one</p>")
                gallery = gr.Gallery(
                    list(examples),
                    show_label=False,
                    columns=len(examples),
                    height=130,
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                )
        with gr.Row():
            score = gr.Slider(
                LEAST_SCORE, 0.95, SCORE, step=0.05, label="Lowest score shown", min_width=320
            )
            factor = _factor_slider(detectors)
        status = gr.HTML()
        with gr.Row(elem_classes="cards"):
            cards = [part for detector in detectors for part in _make_card(detector)]
        path, results = gr.State(), gr.State({})
        sliders, outputs = [score, factor], [path, results, status, *cards]
        # One image at a time, or detectors would slow each other down while they are timed.
        alone = {"concurrency_limit": 1, "concurrency_id": "detectors"}
        hidden = {"api_visibility": "private"}
        # Images and factors may come while detectors run: they wait for their turn.
        alone |= {"trigger_mode": "multiple"}
        wish, asked = gr.State(), gr.State(Asked())
        given, at_once = [wish, asked, *sliders], {"queue": False}
        # The field is emptied at once, or it would take no other image until all are done.
        taken = upload.upload(
            lambda file, asked: (page.ask(file, asked), None),
            [upload, asked],
            [wish, upload],
            api_name="upload",
            **at_once,
        )
        chosen = gallery.select(page.example, asked, wish, **at_once, **hidden)
        shown = [
            blocks.load(page.first, [asked, *sliders], outputs, **alone, **hidden),
            chosen.success(page.wanted, given, outputs, **alone, **hidden),
            taken.success(page.wanted, given, outputs, api_name="detect", **alone),
            factor.release(
                page.at_factor, [path, results, *sliders], [results, *cards], **alone, **hidden
            ),
        ]
        drawn = {"fn": page.cards, "inputs": [results, score], "outputs": cards}
        score.change(**drawn, show_progress="hidden", **hidden)
        # The score may have been changed while detectors ran. In their queue, or cards that are
        # drawn early in the next image's run could arrive after its own.
        for event in shown:
            event.then(**drawn, show_progress="hidden", **alone, **hidden)
    return blocks


def _factor_slider(detectors: Sequence[PageDetector]) -> gr.Slider:
    """A slider through all factors of the any-factor detectors; hidden where there are none."""
    factors = [factor for detector in detectors for factor in detector.factors]
    names = ", ".join(detector.title for detector in detectors if detector.factors)
    return gr.Slider(
        float(min(factors, default=1)),
        float(max(factors, default=2)),
        float(max(factors, default=1)),
        step=1 / lcm(*(factor.denominator for factor in factors)),
        label=f"Downsampling factor of: {names}",
        visible=bool(factors),
        min_width=320,
    )


def _make_card(detector: PageDetector) -> list[Any]:
    """A card's components, in the order of :func:`card`."""
    parts = []
    with gr.Column(elem_classes="card"):
        knows = (
            f"<p>Knows {escape(detector.knows)}, and nothing else.</p>" if detector.knows else ""
        )
        gr.HTML(f"<h3>{escape(detector.title)}</h3>{knows}")
        with gr.Row():
            for label in ("What it sees", "What it finds"):
                with gr.Column(min_width=180):
                    gr.HTML(f"<p>{label}</p>")
                    parts.append(
                        gr.Image(
                            format="png",
                            interactive=False,
                            show_label=False,
                            buttons=["fullscreen"],
                            alt_text=f"{label}: {detector.title}",
                        )
                    )
        return [*parts, gr.HTML()]


def serve(blocks: gr.Blocks, host: str, port: int | None) -> None:
    """Serve the page until Ctrl-C.

    Args:
        blocks: the page.
        host: address to listen on.
        port: None: the first one from 7860 on that is free.

    Raises:
        OSError: it cannot listen there.
    """
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            max_file_size=MAX_BYTES,
            state_session_capacity=32,  # each holds the pictures of its last image
            theme=THEME,
            css=CSS,
        )
    except OSError:
        raise OSError(
            f"cannot listen on {host}{'' if port is None else f':{port}'}: another program does, "
            "or it is no address of this machine; --host and --port choose another one"
        ) from None
    print(f"the page is at {address} until Ctrl-C", flush=True)
    blocks.block_thread()
