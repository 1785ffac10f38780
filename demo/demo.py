#!/usr/bin/env python3
"""Detect on images, folders or videos: ``python demo/demo.py --config-file RECIPE ...``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.demo import main

if __name__ == "__main__":
    main()
