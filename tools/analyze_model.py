#!/usr/bin/env python3
"""Parameters, MACs and speed of a recipe's model: ``analyze_model.py --config-file RECIPE``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.analyze import main

if __name__ == "__main__":
    main()
