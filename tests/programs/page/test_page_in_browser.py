"""The page in a real browser, Chromium without a screen: what a user sees and does."""

import re
import shutil

import lowres_d2

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
if BROWSER is None:
    reason = "the page in a browser is left out: no Chromium here (make browser)"
    pytest.skip(reason, allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: extra `test`")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT = 60_000  # milliseconds


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


def test_an_upload_is_detected_and_a_hostile_one_gets_a_message(
    browser, served, page_runs, tmp_path
):
    image, text = tmp_path / "mine.png", tmp_path / "<b>text.png"
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(image)
    text.write_text("no image")
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(served.address, timeout=WAIT)
    # The first example is shown without a click.
    page.get_by_text(re.compile(r"^\d+\.jpg, 256 x 256 pixels\.$")).wait_for(timeout=WAIT)
    assert page.get_by_role("heading", name="<b>Any").is_visible()  # a name, and no bold text

    page.set_input_files("input[type=file]", image)
    page.get_by_text("mine.png, 64 x 48 pixels.").wait_for(timeout=WAIT)
    numbers = page.locator(".numbers b:first-child")
    expected = [lowres_d2.load(folder)(image, 0.5) for folder in page_runs.values()]
    said = [f"{len(found)} object{'s' if len(found) != 1 else ''}" for found in expected]
    assert all(map(len, expected))
    playwright.expect(numbers).to_have_text(said, timeout=WAIT)
    assert page.locator(".card img").count() == 4
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert Image.open(tmp_path / "page.png").width == 1400

    page.get_by_label("number input for Lowest score shown").fill("0.95")
    page.keyboard.press("Enter")
    playwright.expect(numbers).to_have_text(["0 objects"] * 2, timeout=WAIT)

    page.set_input_files("input[type=file]", text)
    page.get_by_text("text.png: cannot be read as an image").wait_for(timeout=WAIT)
    playwright.expect(page.locator(".card img")).to_have_count(0, timeout=WAIT)
    # What is dropped or set while detectors run counts when they are done.
    large = tmp_path / "large.png"
    Image.open(image).resize((1200, 900)).save(large)
    page.set_input_files("input[type=file]", large)
    # A fast machine may be done before the page is looked at.
    page.get_by_text(
        re.compile(r"^large\.png(: \d of 2 detectors|, 1200 x 900 pixels\.)$")
    ).wait_for(timeout=WAIT)
    page.set_input_files("input[type=file]", image)
    page.get_by_label("number input for Lowest score shown").fill("0.5")
    page.keyboard.press("Enter")
    page.get_by_text("mine.png, 64 x 48 pixels.").wait_for(timeout=WAIT)
    playwright.expect(numbers).to_have_text(said, timeout=WAIT)

    assert not wrong
    assert not [url for url in asked if not url.startswith((served.address, "data:", "blob:"))]
