#!/usr/bin/env python3
"""One model on ever smaller images: AP, MACs and speed at 1/1, 1/2, ... of the resolution."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.sweep import main

if __name__ == "__main__":
    main()
