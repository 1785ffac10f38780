#!/usr/bin/env python3
"""Train a recipe, or evaluate it with --eval-only: ``python train_net.py --config-file RECIPE``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.train import main

if __name__ == "__main__":
    main()
