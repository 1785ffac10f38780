#!/usr/bin/env python3
"""Detect on images, folders or videos: ``python demo/demo.py --config-file RECIPE ...``."""

import sys

from lowres_d2.programs.command import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
