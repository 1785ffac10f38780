#!/usr/bin/env python3
"""Generate images, train one detector at two resolutions, and write a report about both."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.quickstart import main

if __name__ == "__main__":
    main()
