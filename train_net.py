#!/usr/bin/env python3
"""Train a recipe, or evaluate it with --eval-only: ``python train_net.py --config-file RECIPE``."""

import sys

from lowres_d2.programs.command import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
