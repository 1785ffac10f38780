#!/usr/bin/env python3
"""Generate the embedded data set ahead of its first use: ``make_plates.py --num-images 2000``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.make_plates import main

if __name__ == "__main__":
    main()
