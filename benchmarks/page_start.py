"""Time from the start of ``lowres-d2 page`` to detections in a browser.

    python benchmarks/page_start.py [--browser chromium] [--times 3]

A headless browser, which waits for it, opens the address as soon as the page prints it. The page
shows its first example by itself: timed are its first card, and the last one. Every time is of a
new process; of several the least counts, as other programs can only add to it. The claim: the first
detections are there within 10 s.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import time

from lowres_d2.programs.command import summary_of

from playwright.sync_api import Page, expect, sync_playwright
from tabulate import tabulate

LIMIT = 10  # seconds, to the first detections
PATIENCE = 120  # seconds
PAGE = [sys.executable, "-m", "lowres_d2", "page"]


def seconds_to_show(tab: Page) -> list[float]:
    """Start the page, and open it; seconds to its address, its first card and its last one."""
    start = time.perf_counter()
    process = subprocess.Popen(PAGE, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        address = re.search(r"http://\S+", said)[0]
        times = [time.perf_counter() - start]
        tab.goto(address)
        cards = tab.locator(".card")
        numbers = tab.locator(".card .numbers")
        expect(numbers.first).to_contain_text("objects")
        times.append(time.perf_counter() - start)
        expect(numbers).to_have_count(cards.count())
        return [*times, time.perf_counter() - start]
    finally:
        tab.goto("about:blank")
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--browser", default="chromium-headless-shell", metavar="PROGRAM")
    parser.add_argument("--times", type=int, default=3, metavar="N")
    args = parser.parse_args()
    browser = shutil.which(args.browser)
    if browser is None:
        parser.error(f"--browser {args.browser}: no such program; `make browser` installs one")
    expect.set_options(timeout=1000 * PATIENCE)
    with (
        sync_playwright() as play,
        play.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as opened,
    ):
        rows = [seconds_to_show(opened.new_page()) for _ in range(args.times)]
    print(tabulate(rows, ["address, s", "first card, s", "last card, s"], floatfmt=".1f"))
    least = min(first for _, first, _ in rows)
    print(f"first detections after {least:.1f} s (limit {LIMIT})")
    if least > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
