"""Show detectors side by side in the browser, with what each sees.

The page is served to this machine alone unless --host says otherwise, and needs no network.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import getproxies

from lowres_d2.programs.command_lines.page import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the page until Ctrl-C."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    # As Ctrl-C does it: uploads are removed at the end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with TemporaryDirectory(prefix="lowres_d2_page_") as folder:
        # gradio reads these when it is imported; it asks its own server whether that answers, which
        # a proxy cannot.
        direct = [getproxies().get("no"), "localhost", "127.0.0.1", args.host]
        os.environ |= {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": folder,
            "no_proxy": ",".join(filter(None, direct)),
        }
        try:
            from lowres_d2.programs.page_layout import make_page, serve
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            raise ImportError(
                "the page needs gradio, which is not installed: pip install 'lowres-d2[demo]'"
            ) from None
        from lowres_d2.programs.page_detectors import open_detectors
        from lowres_d2.programs.page_examples import make_examples

        detectors = open_detectors(args.model)
        examples = make_examples(Path(folder) / "examples")
        serve(make_page(detectors, examples), args.host, args.port)
