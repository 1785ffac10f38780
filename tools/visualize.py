#!/usr/bin/env python3
"""Draw runs side by side: ``visualize.py all --runs FOLDER RECIPE@WEIGHTS --output DIR``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.visualize import main

if __name__ == "__main__":
    main()
