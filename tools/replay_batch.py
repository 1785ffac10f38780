#!/usr/bin/env python3
"""Run a batch whose loss was no number again: ``replay_batch.py FILE --config-file RECIPE``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.replay import main

if __name__ == "__main__":
    main()
