#!/usr/bin/env python3
"""Look for faults in a data set: ``validate_dataset.py --annotations train.json val.json``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.validate import main

if __name__ == "__main__":
    main()
