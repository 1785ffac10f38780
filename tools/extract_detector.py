#!/usr/bin/env python3
"""Write the bare detector of a run's checkpoint: ``extract_detector.py WEIGHTS OUTPUT``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.extract import main

if __name__ == "__main__":
    main()
