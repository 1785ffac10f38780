#!/usr/bin/env python3
"""Run a paper's quick benchmark: train what it compares, write table, plots and images."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.reproduce import main

if __name__ == "__main__":
    main()
