#!/usr/bin/env python3
"""Detectors side by side on a web page: ``python demo/app.py [--model RUN_FOLDER ...]``."""

import sys

from lowres_d2.programs.command import main

if __name__ == "__main__":
    main(["page", *sys.argv[1:]])
