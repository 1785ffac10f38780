#!/usr/bin/env python3
"""What features of a recipe's detector see: ``receptive_field.py --config-file RECIPE``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.receptive_field import main

if __name__ == "__main__":
    main()
